// A process added to a running container: the parts of its shim.
#pragma once

#include "cgroup/directory.h"
#include "init/steps.h"
#include "plan/plan.h"
#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::init {

struct ExecContext {
  const plan::Exec& exec;
  Steps& steps;
  const cgroup::Placement& cgroups;
  /** pidfd of the container's init. */
  int target;
  /** Its root, or -1 for the one of its mount namespace. */
  int root;
  bool joinsUser;
  bool joinsTime;
  /** To the shim: the new process's number and pidfd, a terminal, a failure; end of file once execve has happened. */
  int socket;
  /** Connection to a seccomp listener, or -1. */
  int listener;
};

/** Joins the container and clones the process into it. Does not return. */
[[noreturn]] void runJoiner(const ExecContext& context);

struct Relayed {
  Fd process;  // pidfd
  /** The caller's socket: window sizes come in; its end means nobody listens any more. */
  Fd control;
  Fd stream;  // with a terminal: the caller's duplex stream
  Fd master;
};
/** Runs until the process has ended and all of its terminal's output is passed on. */
void relay(Relayed* relayed);

}  // namespace bulkhead::init
