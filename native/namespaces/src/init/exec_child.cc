// The processes that enter a container for an exec: one that joins, and the one it clones there.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>

#include "init/child.h"
#include "init/exec.h"
#include "init/report.h"

namespace bulkhead::init {
namespace {

constexpr int kAllNamespaces =
    CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

[[noreturn]] void fail(const ExecContext& context, const Error& error) {
  const Report report = failedReport(context.steps.current(), error);
  (void)write(context.socket, &report, kReportBytes);
  _exit(127);
}

Status connectTerminal(const ExecContext& context, const Identity& identity) {
  const plan::Process& process = context.exec.process;
  TRY(context.steps.begin("terminal"));
  setsid();
  Terminal terminal = TRY(openTerminal(process.rows, process.columns));
  if (ioctl(terminal.peer.get(), TIOCSCTTY, 0) < 0) return failure("ioctl TIOCSCTTY", errno);
  const char kind = static_cast<char>(ExecMessage::terminal);
  const int master = terminal.master.get();
  TRY(sys::sendMessage(context.socket, &kind, 1, &master, 1));
  for (int fd = 0; fd < 3; ++fd) {
    if (dup2(terminal.peer.get(), fd) < 0) return failure("dup2", errno);
  }
  if (fchown(0, identity.uid, static_cast<gid_t>(-1)) < 0) return failure("fchown", errno, "terminal");
  return Done{};
}

Status becomeExec(const ExecContext& context, Identity* identity) {
  const plan::Process& process = context.exec.process;
  TRY(sys::processControl("prctl PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, SIGKILL));
  TRY(context.steps.begin("user lookup"));
  TRY(resolveIdentity(process, identity));
  if ((process.flags & plan::kProcessTerminal) != 0) {
    TRY(connectTerminal(context, *identity));
  } else {
    TRY(context.steps.begin("stdio"));
    TRY(connectStdio({STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}, Fd(), *identity));
  }
  return becomeProcess({process, *identity, context.steps, context.socket});
}

Status join(const ExecContext& context) {
  TRY(context.steps.begin("cgroup join"));
  TRY(context.cgroups.joinSelf());
  const int kept[] = {context.socket, context.target};
  TRY(sys::closeAllBut(kept, std::size(kept)));
  TRY(context.steps.begin("join namespaces"));
  TRY(sys::enterNamespace(context.target, kAllNamespaces | (context.joinsUser ? CLONE_NEWUSER : 0)));
  if (chdir("/") < 0) return failure("chdir", errno);
  return context.joinsUser ? becomeRoot() : Status(Done{});
}

}  // namespace

Result<Terminal> openTerminal(uint16_t rows, uint16_t columns) {
  constexpr int kFlags = O_RDWR | O_NOCTTY | O_NONBLOCK;
  Terminal terminal;
  terminal.master = TRY(sys::openAt2(AT_FDCWD, "/dev/pts/ptmx", kFlags, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS));
  const struct stat status = TRY(sys::statusOf(terminal.master.get()));
  // The image may have put anything at this path; only devpts' own multiplexer will do (CVE-2025-52565).
  if (TRY(sys::filesystemType(terminal.master.get())) != kernel::kDevptsMagic || !S_ISCHR(status.st_mode) ||
      status.st_rdev != makedev(5, 2)) {
    return failure("openat2", ENODEV, "/dev/pts/ptmx");
  }
  const int unlocked = 0;
  if (ioctl(terminal.master.get(), TIOCSPTLCK, &unlocked) < 0) return failure("ioctl TIOCSPTLCK", errno);
  // By descriptor: the path of the peer may be raced from inside.
  const int peer = ioctl(terminal.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (peer < 0) return failure("ioctl TIOCGPTPEER", errno);
  terminal.peer = Fd(peer);
  if (rows != 0 || columns != 0) {
    const struct winsize size = {rows, columns, 0, 0};
    if (ioctl(terminal.master.get(), TIOCSWINSZ, &size) < 0) return failure("ioctl TIOCSWINSZ", errno);
  }
  return terminal;
}

void runJoiner(const ExecContext& context) {
  context.steps.enterChild();
  Status joined = join(context);
  if (!joined.ok()) fail(context, joined.error());
  // A process stays in the pid namespace it began in; only its children are in the one it joined. The child's parent
  // is the shim, which will learn its exit status.
  Result<sys::Cloned> cloned = sys::cloneProcess(CLONE_PARENT, -1);
  if (!cloned.ok()) fail(context, cloned.error());
  const pid_t pid = cloned.value().pid;
  if (pid == 0) {
    Identity identity;
    Status ready = becomeExec(context, &identity);
    if (ready.ok()) ready = context.steps.begin("exec");
    if (!ready.ok()) fail(context, ready.error());
    context.steps.setLaunching();
    fail(context, launch(context.exec.process, identity));
  }
  char message[1 + sizeof pid] = {static_cast<char>(ExecMessage::process)};
  memcpy(message + 1, &pid, sizeof pid);
  const int pidfd = cloned.value().pidfd.get();
  Status sent = sys::sendMessage(context.socket, message, sizeof message, &pidfd, 1);
  if (!sent.ok()) (void)sys::signalPid(pidfd, SIGKILL).ok();
  _exit(sent.ok() ? 0 : 127);
}

}  // namespace bulkhead::init
