#include "init/hook.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "init/child.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::init {
namespace {

// A program's strings lie in the plan, which is at most 1 MiB.
constexpr uint32_t kMaxStrings = 65536;

[[noreturn]] void become(const plan::Hook& hook, const HookStdio& stdio) {
  // A hook must not outlive a runtime that is killed while it waits.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  // Above the three, which the copies below overwrite one after the other.
  const int output = stdio.output >= 0 ? fcntl(stdio.output, F_DUPFD_CLOEXEC, 3) : null;
  dup2(stdio.state >= 0 ? stdio.state : null, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  (void)sys::closeFrom(3, ~0u, CLOSE_RANGE_CLOEXEC).ok();
  (void)resetSignals().ok();
  const char* arguments[hook.arguments.count + 2];
  const char* environment[hook.environment.count + 1];
  uint32_t used = 0;
  for (const Str& argument : hook.arguments) arguments[used++] = argument.data;
  if (used == 0) arguments[used++] = hook.path.data;
  arguments[used] = nullptr;
  used = 0;
  for (const Str& entry : hook.environment) environment[used++] = entry.data;
  environment[used] = nullptr;
  execve(hook.path.data, const_cast<char**>(arguments), const_cast<char**>(environment));
  // 128 and above are free of what programs usually answer; the errno of execve fits on top.
  _exit(errno < 100 ? 128 + errno : 127);
}

Status runOne(const plan::Hook& hook, const HookStdio& stdio) {
  if (hook.arguments.count > kMaxStrings || hook.environment.count > kMaxStrings) {
    return failure("hook", E2BIG, hook.path.view());
  }
  if (stdio.state >= 0 && lseek(stdio.state, 0, SEEK_SET) < 0) return failure("lseek", errno, "state");
  sys::Cloned cloned = TRY(sys::cloneProcess(0, -1));
  if (cloned.pid == 0) become(hook, stdio);
  struct pollfd slot = {cloned.pidfd.get(), POLLIN, 0};
  const int timeoutMs = hook.timeoutSeconds == 0 ? -1 : static_cast<int>(hook.timeoutSeconds * 1000);
  const long ready = sys::retry([&] { return poll(&slot, 1, timeoutMs); });
  if (ready <= 0) {
    const int err = ready == 0 ? ETIME : errno;
    (void)sys::signalPid(cloned.pidfd.get(), SIGKILL).ok();
    (void)sys::reap(cloned.pidfd.get(), true).ok();
    return failure("hook", err, hook.path.view());
  }
  const sys::Ended ended = TRY(sys::reap(cloned.pidfd.get(), true));
  if (ended.code == CLD_EXITED && ended.status == 0) return Done{};
  FixedText<192> what(hook.path.view());
  char reason[48];
  if (ended.code != CLD_EXITED) {
    snprintf(reason, sizeof reason, ": ended by signal %d", ended.status);
  } else if (ended.status > 128 && ended.status < 228) {
    return failure("hook", ended.status - 128, hook.path.view());
  } else {
    snprintf(reason, sizeof reason, ": exit status %d", ended.status);
  }
  what.append(reason);
  return failure("hook", EIO, what.view());
}

}  // namespace

Status runHooks(const Span<plan::Hook>& hooks, const HookStdio& stdio) {
  for (const plan::Hook& hook : hooks) TRY(runOne(hook, stdio));
  return Done{};
}

}  // namespace bulkhead::init
