#include "sys/spawn.h"

#include <signal.h>
#include <sys/wait.h>

#include <cstdio>

#include "sys/retry.h"

namespace bulkhead::sys {

Spawn::Spawn(int firstFree) : firstFree_(firstFree) {
  posix_spawn_file_actions_init(&actions_);
  posix_spawnattr_init(&attributes_);
}

Spawn::~Spawn() {
  posix_spawnattr_destroy(&attributes_);
  posix_spawn_file_actions_destroy(&actions_);
}

Status Spawn::pass(int source, int target) {
  copies_.push_back(TRY(duplicate(source, firstFree_)));
  const int err = posix_spawn_file_actions_adddup2(&actions_, copies_.back().get(), target);
  if (err != 0) return failure("posix_spawn_file_actions_adddup2", err);
  return Done{};
}

void Spawn::resetSignals() {
  sigset_t all;
  sigset_t none;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&attributes_, &all);
  posix_spawnattr_setsigmask(&attributes_, &none);
  flags_ |= POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
}

Result<Fd> Spawn::run(const char* path, char* const* arguments) {
  posix_spawnattr_setflags(&attributes_, flags_);
  char* environment[] = {nullptr};
  pid_t pid = 0;
  const int err = posix_spawn(&pid, path, &actions_, &attributes_, arguments, environment);
  if (err != 0) return failure("posix_spawn", err, arguments[0]);
  // Not reaped yet by anyone but us, so the number still means this process.
  Result<Fd> process = openPid(pid);
  if (!process.ok()) {
    // Nobody could wait for it, or end it later.
    kill(pid, SIGKILL);
    (void)retry([&] { return waitpid(pid, nullptr, 0); });
  }
  return process;
}

Result<Fd> Spawn::run(int executable, char* const* arguments) {
  const Fd copy = TRY(duplicate(executable, firstFree_));
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", copy.get());
  return run(path, arguments);
}

}  // namespace bulkhead::sys
