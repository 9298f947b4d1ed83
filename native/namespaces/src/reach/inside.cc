#include "reach/inside.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace bulkhead::reach {

namespace {

/** Another process's namespace of a type (a name in /proc/PID/ns), or an invalid descriptor when it is ours. */
Result<Fd> foreignNamespace(const sys::ProcessRef& target, const char* type) {
  char theirPath[48];
  char ourPath[48];
  snprintf(theirPath, sizeof theirPath, "/proc/%d/ns/%s", target.pid, type);
  snprintf(ourPath, sizeof ourPath, "/proc/self/ns/%s", type);
  Fd theirs = TRY(sys::openAt(AT_FDCWD, theirPath, O_RDONLY));
  const struct stat their = TRY(sys::statusOf(theirs.get()));
  const struct stat our = TRY(sys::statusAt(AT_FDCWD, ourPath, 0));
  if (their.st_ino == our.st_ino) return Fd();
  return theirs;
}

}  // namespace

Result<Fd> userNamespaceOf(const sys::ProcessRef& target) {
  if (TRY(foreignNamespace(target, "mnt")).get() < 0) return failure("setns", EPERM, "the host's mount namespace");
  return foreignNamespace(target, "user");
}

Result<Fd> enter(int process, int userNamespace) {
  const int user = userNamespace >= 0 ? CLONE_NEWUSER : 0;
  TRY(sys::enterNamespace(process, CLONE_NEWNS | user));
  if (user != 0) {
    if (syscall(SYS_setresgid, 0, 0, 0) < 0) return failure("setresgid", errno);
    if (syscall(SYS_setresuid, 0, 0, 0) < 0) return failure("setresuid", errno);
    // No group of the host may open anything here.
    if (syscall(SYS_setgroups, 0, nullptr) < 0) return failure("setgroups", errno);
    // Forgotten with the ids, unless the host's fs.suid_dumpable says the same.
    TRY(sys::processControl("prctl PR_SET_DUMPABLE", PR_SET_DUMPABLE, 0));
  }
  if (chdir("/") < 0) return failure("chdir", errno);
  return sys::openAt(AT_FDCWD, "/", O_PATH | O_DIRECTORY);
}

}  // namespace bulkhead::reach
