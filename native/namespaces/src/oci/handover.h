// What create and exec have in common: what they tell init of the container, and what they hand to the caller.
#pragma once

#include <rapidjson/document.h>
#include <sys/types.h>

#include <string>

#include "oci/session.h"
#include "sys/fd.h"
#include "sys/procfs.h"

namespace bulkhead::oci {

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
