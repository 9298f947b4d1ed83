// From a bundle to a container that waits at its gate.
#pragma once

#include <string>

#include "oci/instance.h"
#include "oci/session.h"
#include "sys/fd.h"

namespace bulkhead::oci {

struct CreateOptions {
  std::string id;
  std::string bundle = ".";
  std::string pidFile;
  /** Where the terminal's master goes; empty: it stays with the caller (`run` in the foreground). */
  std::string consoleSocket;
  /** Where a pidfd of the process goes; empty: nowhere. */
  std::string pidfdSocket;
  /** The process keeps the caller's session keyring. */
  bool keepsKeyring = false;
  int preservedFds = 0;
  /** The caller stays and can serve a terminal itself. */
  bool foreground = false;
};

struct Created {
  explicit Created(Session* session) : instance(session) {}

  Instance instance;
  /** With a terminal and no console socket. */
  Fd terminal;
};

/** On failure nothing stays: no directory, cgroup or process. */
bool createContainer(Session* session, const CreateOptions& options, Created* created);
/** Opens the gate, waits for execve, and runs the poststart hooks. The caller holds the lock. */
bool startContainer(Session* session, Instance* instance);
/**
 * `writable` of the compiler's inputs from the annotation "org.bulkhead.writable", paths with colons between them; null
 * without it.
 */
rapidjson::Value writableValue(const rapidjson::Value& spec, rapidjson::Document* document);
/** Writes a decimal and a newline-free end, through a temporary name beside it. */
bool writePidFile(Session* session, const std::string& path, pid_t pid);
/** Sends a terminal's master over the socket at `path`. */
bool sendTerminal(Session* session, const std::string& path, const Fd& master);
/** Sends a pidfd of the process over the socket at `path`; does nothing without one. */
bool sendPidfd(Session* session, const std::string& path, const sys::ProcessRef& process);
/** `state` of the compiler's inputs: who the container is to seccomp listeners, and in its keyring's name. */
rapidjson::Value identityValue(const std::string& id, const std::string& bundle, rapidjson::Document* document);
/** The number that --preserve-fds asks for; every one of them must be open. */
bool countPreservedFds(Session* session, const std::string& asked, int* count);

}  // namespace bulkhead::oci
