// Process half of syscalls.h.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::sys {

Result<Cloned> cloneProcess(uint64_t flags, int cgroup) {
  int pidfd = -1;
  struct clone_args arguments = {};
  arguments.flags = flags | CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  // With CLONE_PARENT the child signals its new parent as we would; the kernel refuses an own exit signal then.
  arguments.exit_signal = (flags & CLONE_PARENT) != 0 ? 0 : SIGCHLD;
  if (cgroup >= 0) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<uint64_t>(cgroup);
  }
  const long pid = retry([&] { return syscall(SYS_clone3, &arguments, sizeof arguments); });
  if (pid < 0) return failure("clone3", errno);
  return Cloned{static_cast<pid_t>(pid), Fd(pid == 0 ? -1 : pidfd)};
}

Result<Fd> openPid(pid_t pid) {
  return opened("pidfd_open", [&] { return syscall(SYS_pidfd_open, pid, 0); });
}

Status signalPid(int pidfd, int signal) {
  return check("pidfd_send_signal", [&] { return syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0); });
}

Result<Ended> reap(int pidfd, bool block) {
  siginfo_t info = {};
  const idtype_t kPidfd = static_cast<idtype_t>(3);  // P_PIDFD, missing as a macro in some headers
  if (retry([&] { return waitid(kPidfd, static_cast<id_t>(pidfd), &info, WEXITED | (block ? 0 : WNOHANG)); }) < 0) {
    return failure("waitid", errno);
  }
  if (info.si_pid == 0) return failure("waitid", EAGAIN);
  return Ended{info.si_code, info.si_status};
}

Status enterNamespace(int fd, int type) {
  return check("setns", [&] { return setns(fd, type); });
}

Status changeRoot(int fd) {
  TRY(check("fchdir", [&] { return fchdir(fd); }));
  TRY(check("chroot", [&] { return chroot("."); }));
  return check("chdir", [&] { return chdir("/"); });
}

Status unshareNamespaces(int flags) {
  return check("unshare", [&] { return unshare(flags); });
}

Status closeFrom(unsigned first, unsigned last, unsigned flags) {
  return check("close_range", [&] { return syscall(SYS_close_range, first, last, flags); });
}

Status closeAllBut(const int* kept, size_t count) {
  for (unsigned first = 3;;) {
    unsigned next = ~0u;
    for (size_t index = 0; index < count; ++index) {
      if (kept[index] >= static_cast<int>(first) && static_cast<unsigned>(kept[index]) < next) {
        next = static_cast<unsigned>(kept[index]);
      }
    }
    if (next == ~0u) return closeFrom(first, ~0u, 0);
    if (next > first) TRY(closeFrom(first, next - 1, 0));
    first = next + 1;
  }
}

Status processControl(const char* name, int option, unsigned long a, unsigned long b) {
  return check(name, [&] { return prctl(option, a, b, 0, 0); });
}

Status setLimit(pid_t pid, int resource, const struct rlimit& limit) {
  return check("prlimit", [&] { return prlimit(pid, static_cast<__rlimit_resource>(resource), &limit, nullptr); });
}

}  // namespace bulkhead::sys
