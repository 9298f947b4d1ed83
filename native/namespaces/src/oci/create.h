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

}  // namespace bulkhead::oci
