// The container's first process, from clone3 to execve.
#pragma once

#include <linux/sched.h>

#include "cgroup/directory.h"
#include "init/listener.h"
#include "init/prepared.h"
#include "init/steps.h"
#include "plan/plan.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::init {

/** Descriptors that the child needs for its stdio; below 0 is /dev/null. */
struct Stdio {
  int input;
  int output;
  int error;
};

class Gate;

/** Namespaces that the child makes before anything else: they are its user namespace's, and the shim need not wait. */
inline constexpr uint32_t kMadeFirst = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

struct ChildContext {
  /** CLONE_NEW* that are its own. */
  uint32_t namespaces;
  /** Null: the child is born before its plan, which comes by the socket. */
  const plan::Container* container;
  Steps& steps;
  const cgroup::Placement& cgroups;
  /** SOCK_SEQPACKET to the shim: mounts come in, the failure goes out, end of file means execve has happened. */
  int socket;
  /** Pipes to the log; -1 when it is known that there is none. */
  int output;
  int error;
  /** Connection to a seccomp listener, or -1. */
  int listener;
  /** Its mount namespace is a copy of the base (base.h), not of the host's. */
  bool fromBase;
};

/** Does not return. */
[[noreturn]] void runChild(const ChildContext& context);

/** Mounts of the plan on descriptors below the new root; ends with the root as "/" and nothing of the host in reach. */
Status enterRoot(const ChildContext& context, const plan::Container& container, PreparedMounts* prepared, Fd* devNull);
/** Covers masked paths and makes read-only ones so. `cover`: an empty directory for that, or none. */
Status restrictPaths(const plan::Container& container, int root, Fd cover);

struct Identity {
  uid_t uid;
  gid_t gid;
  gid_t groups[256];
  size_t groupCount;
  /** From passwd, "/" when it has none. */
  FixedText<256> home;
};
/** The plan's user, or the image's as written in it, looked up in /etc/passwd and /etc/group of the current root. */
Status resolveIdentity(const plan::Process& process, Identity* identity);

/** Becomes id 0 of the user namespace it is in. */
Status becomeRoot();
/** Puts the three descriptors in place; below 0 means `devNull`. Pipes are given to the user who will run. */
Status connectStdio(const Stdio& stdio, const Fd& devNull, const Identity& identity);

/** Every signal to its default and none blocked. */
Status resetSignals();
struct Becoming {
  const plan::Process& process;
  const Identity& identity;
  Steps& steps;
  /** Socket whose other end only the shim holds. */
  int shim;
  /** A shim stays, and the program dies with it. */
  bool attended;
  /** Where a program that nobody attends waits to be started; may be null. */
  Gate* gate;
  Notification notification;
};
/**
 * Working directory, limits, ids, capabilities, signals, seccomp: everything from the inside to execve. An
 * attended program will die with its shim unless it changes its ids or says otherwise by prctl: nobody else would learn
 * how it ended.
 */
Status becomeProcess(const Becoming& becoming);
/** Whether launch() will find something to execute. */
Status checkProgram(const plan::Process& process);
/** execve with a search of PATH; returns only the reason it failed. */
Error launch(const plan::Process& process, const Identity& identity);

}  // namespace bulkhead::init
