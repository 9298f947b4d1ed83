// What only a privileged look from outside shows of a running process: its seccomp filters and its device nodes.
#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "reach/answer.h"
#include "reach/verbs.h"
#include "sys/syscalls.h"

namespace bulkhead::reach {
namespace {

// How long a thread may take to stop, in seconds; one in a frozen cgroup never does.
constexpr time_t kStopSeconds = 1;
// Filters are stacked by whoever adds one; the kernel bounds their instructions at 32768 in all (MAX_INSNS_PER_PATH).
constexpr unsigned kMaxFilters = 256;
constexpr unsigned kMaxNodes = 1024;
constexpr int kMaxDepth = 4;

struct Named {
  const char* name;
  int number;
};
constexpr Named kSyscalls[] = {
#include "seccomp/syscalls_x86_64.h"
};

/** Waits until `pid` stops for us: 0, or the errno that says why not. */
int awaitStop(pid_t pid) {
  sigset_t ended;
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  for (;;) {
    int status = 0;
    const pid_t got = waitpid(pid, &status, __WALL | WNOHANG);
    if (got == pid) return WIFSTOPPED(status) ? 0 : ESRCH;
    if (got < 0 && errno != EINTR) return errno;
    const struct timespec limit = {kStopSeconds, 0};
    if (got == 0 && sigtimedwait(&ended, nullptr, &limit) < 0 && errno == EAGAIN) return ETIMEDOUT;
  }
}

/** The filters of a stopped process, newest first, each as its instructions. */
Status writeFilters(pid_t pid, Answer* answer) {
  static struct sock_filter program[BPF_MAXINSNS];
  for (unsigned index = 0; index < kMaxFilters; ++index) {
    const long count = ptrace(static_cast<__ptrace_request>(PTRACE_SECCOMP_GET_FILTER), pid, index, nullptr);
    // ENOENT: there are no more; EINVAL: seccomp is off.
    if (count < 0 && (errno == ENOENT || errno == EINVAL)) return Done{};
    if (count < 0 || count > BPF_MAXINSNS) return failure("PTRACE_SECCOMP_GET_FILTER", count < 0 ? errno : E2BIG);
    if (ptrace(static_cast<__ptrace_request>(PTRACE_SECCOMP_GET_FILTER), pid, index, program) < 0) {
      return failure("PTRACE_SECCOMP_GET_FILTER", errno);
    }
    answer->hex(program, static_cast<size_t>(count) * sizeof program[0]);
  }
  return Done{};
}

Status stopAndRead(pid_t pid, Answer* answer) {
  sigset_t ended;
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ended, nullptr);
  // Seized, not attached: the process gets no signal, and is let go when this one ends, whatever happens.
  if (ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) < 0) return failure("PTRACE_SEIZE", errno);
  if (ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr) < 0) return failure("PTRACE_INTERRUPT", errno);
  const int err = awaitStop(pid);
  if (err != 0) return failure("waitpid", err);
  Status read = writeFilters(pid, answer);
  (void)ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
  return read;
}

void writeNode(const char* path, const struct stat& status, Answer* answer) {
  answer->open('{');
  answer->name("path");
  answer->text(path);
  answer->name("kind");
  answer->text(S_ISCHR(status.st_mode) ? "character" : "block");
  answer->name("major");
  answer->number(major(status.st_rdev));
  answer->name("minor");
  answer->number(minor(status.st_rdev));
  answer->name("mode");
  answer->number(status.st_mode & 07777);
  answer->name("uid");
  answer->number(status.st_uid);
  answer->name("gid");
  answer->number(status.st_gid);
  answer->close('}');
}

/** Device nodes below an open directory. Everything in it is the container's and may change meanwhile. */
Status walk(Fd directory, const char* path, int depth, unsigned* left, Answer* answer) {
  DIR* stream = fdopendir(directory.get());
  if (stream == nullptr) return failure("fdopendir", errno, path);
  directory.release();
  Status result = Done{};
  while (const struct dirent* entry = readdir(stream)) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (*left == 0) break;
    char below[1024];
    const int size = snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
    if (size < 0 || static_cast<size_t>(size) >= sizeof below) continue;
    struct stat status;
    if (fstatat(dirfd(stream), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0) continue;
    if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
      writeNode(below, status, answer);
      --*left;
    } else if (S_ISDIR(status.st_mode) && depth < kMaxDepth) {
      Result<Fd> inner = sys::openAt(dirfd(stream), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (inner.ok()) result = walk(inner.take(), below, depth + 1, left, answer);
    }
    if (!result.ok()) break;
  }
  closedir(stream);
  return result;
}

Status writeDevices(pid_t pid, Answer* answer, bool* truncated) {
  char path[48];
  snprintf(path, sizeof path, "/proc/%d/root", pid);
  Fd root = TRY(sys::openAt(AT_FDCWD, path, O_PATH | O_DIRECTORY));
  Result<Fd> dev = sys::openAt2(root.get(), "dev", O_RDONLY | O_DIRECTORY, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (!dev.ok()) return dev.error().err == ENOENT ? Status(Done{}) : Status(dev.error());
  unsigned left = kMaxNodes;
  TRY(walk(dev.take(), "/dev", 0, &left, answer));
  *truncated = left == 0;
  return Done{};
}

}  // namespace

Status inspect(Request* request, Answer* answer) {
  const sys::ProcessRef target = TRY(request->process());
  const bool stop = TRY(request->flag("stop"));
  TRY(request->end());
  Fd alive = TRY(sys::openProcess(target));
  bool truncated = false;
  answer->name("devices");
  answer->open('[');
  Status devices = writeDevices(target.pid, answer, &truncated);
  answer->close(']');
  answer->name("devicesTruncated");
  answer->flag(truncated);
  answer->name("filters");
  answer->open('[');
  Status filters = stop ? stopAndRead(target.pid, answer) : Status(Done{});
  answer->close(']');
  if (!devices.ok()) {
    answer->name("devicesError");
    answer->error("devices", devices.error());
  }
  if (!filters.ok()) {
    answer->name("filtersError");
    answer->error("seccomp", filters.error());
  }
  answer->name("syscalls");
  answer->open('{');
  for (const Named& row : kSyscalls) {
    answer->name(row.name);
    answer->number(static_cast<uint64_t>(row.number));
  }
  answer->close('}');
  // Everything above went by number: had it been reused meanwhile, the answer would be another process's.
  return sys::signalPid(alive.get(), 0);
}

}  // namespace bulkhead::reach
