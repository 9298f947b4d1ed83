// A program as a child of this process, without a fork of it.
#pragma once

#include <spawn.h>

#include <vector>

#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::sys {

/** One start: descriptors first, then `run`. The program begins a session of its own and has no environment. */
class Spawn {
 public:
  /** Targets of `pass` are below `firstFree`. */
  explicit Spawn(int firstFree);
  ~Spawn();
  Spawn(const Spawn&) = delete;
  Spawn& operator=(const Spawn&) = delete;

  /** The program will have `source` as `target`. */
  Status pass(int source, int target);
  /** Signals as after a boot: nothing blocked, ignored or handled. Without it they are as the caller's. */
  void resetSignals();
  /** A pidfd. The child shares our memory until it execs (CLONE_VM | CLONE_VFORK): no page tables are copied. */
  Result<Fd> run(const char* path, char* const* arguments);
  /** The same with an executable that is open. */
  Result<Fd> run(int executable, char* const* arguments);

 private:
  int firstFree_;
  short flags_ = POSIX_SPAWN_SETSID;
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  /** Copies above every target, so that no copy overwrites another's source. */
  std::vector<Fd> copies_;
};

}  // namespace bulkhead::sys
