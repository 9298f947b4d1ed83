// The processes that enter a container for an exec: one that joins, and the one it clones there.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "init/child.h"
#include "init/exec.h"
#include "init/report.h"
#include "init/scheduling.h"
#include "init/terminal.h"
#include "sys/file.h"

namespace bulkhead::init {
namespace {

constexpr int kAllNamespaces =
    CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

[[noreturn]] void fail(const ExecContext& context, const Error& error) {
  const Report report = failedReport(context.steps.current(), error);
  (void)write(context.socket, &report, kReportBytes);
  _exit(127);
}

/**
 * The shim reaps what it was told of, so each process speaks for itself and before it does anything else: had the one
 * that joined to say it, its end in between would leave a process that nobody knows.
 */
Status introduce(int socket) {
  Fd self = TRY(sys::openPid(getpid()));
  const char kind = static_cast<char>(ChildMessage::process);
  const int pidfd = self.get();
  return sys::sendMessage(socket, &kind, 1, &pidfd, 1);
}

Status becomeExec(const ExecContext& context, Identity* identity) {
  const plan::Process& process = context.exec.process;
  TRY(sys::processControl("prctl PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, SIGKILL));
  TRY(introduce(context.socket));
  TRY(context.steps.begin("user lookup"));
  TRY(resolveIdentity(process, identity));
  if ((process.flags & plan::kProcessTerminal) != 0) {
    TRY(context.steps.begin("terminal"));
    TRY(connectTerminal(process, *identity, context.socket));
  } else {
    TRY(context.steps.begin("stdio"));
    TRY(connectStdio({STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}, Fd(), *identity));
  }
  Notification notification;
  if (context.listener >= 0) {
    TRY(context.steps.begin("seccomp listener"));
    notification.listener = context.listener;
    const sys::Received told = TRY(sys::receiveMessage(context.socket, &notification.pid, sizeof notification.pid));
    if (told.size != sizeof notification.pid) return failure("recvmsg", ECONNRESET);
  }
  const bool attended = (context.exec.flags & plan::kPlanUnattended) == 0;
  return becomeProcess({process, *identity, context.steps, context.socket, attended, nullptr, notification});
}

/** What needs the host's privileges, or its /proc, and passes on to the process that is cloned. */
Status prioritize(const plan::Process& process) {
  if (!process.firstAffinity.empty()) TRY(setAffinity(process.firstAffinity));
  TRY(applyPriorities(process.scheduling, 0));
  if ((process.flags & plan::kProcessOomScore) == 0) return Done{};
  char text[16];
  const int size = snprintf(text, sizeof text, "%d", process.oomScore);
  return sys::writeFile(AT_FDCWD, "/proc/self/oom_score_adj", {text, static_cast<size_t>(size)});
}

Status join(const ExecContext& context) {
  const plan::Process& process = context.exec.process;
  TRY(context.steps.begin("priorities"));
  TRY(prioritize(process));
  TRY(context.steps.begin("cgroup join"));
  TRY(context.cgroups.joinSelf());
  if (process.preservedFds > plan::kMaxPreservedFds) return failure("plan", EINVAL, "preserved descriptors");
  constexpr size_t kOwn = 4;
  int kept[kOwn + plan::kMaxPreservedFds] = {context.socket, context.target, context.root, context.listener};
  for (uint32_t index = 0; index < process.preservedFds; ++index) {
    kept[kOwn + index] = kPreservedFd + static_cast<int>(index);
  }
  TRY(sys::closeAllBut(kept, kOwn + process.preservedFds));
  TRY(context.steps.begin("join namespaces"));
  const int special = (context.joinsUser ? CLONE_NEWUSER : 0) | (context.joinsTime ? CLONE_NEWTIME : 0);
  TRY(sys::enterNamespace(context.target, kAllNamespaces | special));
  if (context.root >= 0) TRY(sys::changeRoot(context.root));
  if (context.root < 0 && chdir("/") < 0) return failure("chdir", errno);
  return context.joinsUser ? becomeRoot() : Status(Done{});
}

}  // namespace

void runJoiner(const ExecContext& context) {
  context.steps.enterChild();
  Status joined = join(context);
  if (!joined.ok()) fail(context, joined.error());
  // A process stays in the pid namespace it began in; only its children are in the one it joined. The child's parent
  // is the shim, which will learn its exit status.
  Result<sys::Cloned> cloned = sys::cloneProcess(CLONE_PARENT, -1);
  if (!cloned.ok()) fail(context, cloned.error());
  if (cloned.value().pid != 0) _exit(0);
  Identity identity;
  Status ready = becomeExec(context, &identity);
  if (ready.ok()) ready = context.steps.begin("exec");
  if (!ready.ok()) fail(context, ready.error());
  context.steps.setLaunching();
  fail(context, launch(context.exec.process, identity));
}

}  // namespace bulkhead::init
