#include "init/exec.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "init/container.h"
#include "init/gate.h"
#include "init/listener.h"
#include "init/privileges.h"
#include "init/record.h"
#include "init/report.h"
#include "init/watch.h"
#include "plan/codec.h"
#include "sys/file.h"
#include "sys/procfs.h"

namespace bulkhead::init {
namespace {

/** A joined but frozen cgroup would stop the process half-way. */
Status refuseFrozen(const cgroup::Placement& cgroups) {
  if (cgroups.unified() < 0) return Done{};
  char text[256];
  Result<size_t> size = sys::readFile(cgroups.unified(), "cgroup.freeze", text, sizeof text);
  if (size.ok() && text[0] == '1') return failure("cgroup.freeze", EBUSY);
  return Done{};
}

/** Whether a process has a namespace ("user", "time") that is not ours; kernels without the type have none. */
Result<bool> hasOwnNamespace(pid_t pid, const char* type) {
  char path[48];
  snprintf(path, sizeof path, "/proc/self/ns/%s", type);
  Result<struct stat> ours = sys::statusAt(AT_FDCWD, path, 0);
  if (!ours.ok() && ours.error().err == ENOENT) return false;
  if (!ours.ok()) return ours.error();
  snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, type);
  const struct stat theirs = TRY(sys::statusAt(AT_FDCWD, path, 0));
  return theirs.st_ino != ours.value().st_ino;
}

/** For a process that the pidfd was opened of before: had its number gone to another, joining by that would fail. */
Result<Fd> openRootOf(pid_t pid) {
  char path[32];
  snprintf(path, sizeof path, "/proc/%d/root", pid);
  return sys::openAt(AT_FDCWD, path, O_PATH | O_DIRECTORY);
}

/** Host id of the container's root, from its own map; our own when it shares our user namespace. */
Result<uid_t> rootOf(pid_t pid) {
  char path[48];
  snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
  char text[8192];
  TRY(sys::readFile(AT_FDCWD, path, text, sizeof text));
  for (const char* line = text; line != nullptr && *line != '\0';) {
    unsigned inside = 0;
    unsigned outside = 0;
    if (sscanf(line, "%u %u", &inside, &outside) == 2 && inside == 0) return uid_t{outside};
    line = strchr(line, '\n');
    if (line != nullptr) ++line;
  }
  return failure("parse", EPROTO, path);
}

/** Pipes become the container root's, so that the process may give them to its user and reopen /dev/stdout. */
Status givePipes(uid_t owner) {
  for (int fd = 0; fd < 3; ++fd) {
    const struct stat status = TRY(sys::statusOf(fd));
    if (S_ISFIFO(status.st_mode)) TRY(sys::changeOwner(fd, "", owner, static_cast<gid_t>(-1), AT_EMPTY_PATH));
  }
  return Done{};
}

class Join {
 public:
  Join(const plan::Exec& exec, Progress* progress) : exec_(exec), progress_(progress), steps_(progress) {}
  ~Join();

  Status run();
  std::string_view step() const { return step_.empty() ? steps_.current() : step_.view(); }
  const Report& report() const { return report_; }
  Relayed takeRelayed() { return std::move(relayed_); }
  Fd takeOomCounter() { return std::move(oomCounter_); }

 private:
  Status await();
  Status accept(char kind, size_t size, int fd);

  const plan::Exec& exec_;
  Progress* progress_;
  Steps steps_;
  cgroup::Placement cgroups_;
  Relayed relayed_;
  Fd oomCounter_;
  Fd joiner_;
  Fd socket_;
  bool done_ = false;
  FixedText<64> step_;
  Report report_ = {};
};

Join::~Join() {
  if (done_) return;
  for (const Fd* process : {&joiner_, &relayed_.process}) {
    if (!process->valid()) continue;
    (void)sys::signalPid(process->get(), SIGKILL).ok();
    (void)sys::reap(process->get(), true).ok();
  }
}

Status Join::run() {
  TRY(steps_.begin("target"));
  const sys::ProcessRef target = {static_cast<pid_t>(exec_.targetPid), exec_.targetTicks};
  Fd pidfd = TRY(sys::openProcess(target));
  const bool joinsUser = TRY(hasOwnNamespace(target.pid, "user"));
  const bool joinsTime = TRY(hasOwnNamespace(target.pid, "time"));
  Fd root = (exec_.flags & plan::kPlanTheirRoot) != 0 ? TRY(openRootOf(target.pid)) : Fd();
  TRY(steps_.begin("stdio"));
  if (joinsUser) TRY(givePipes(TRY(rootOf(target.pid))));
  TRY(steps_.begin("cgroup join"));
  TRY(cgroups_.open(exec_.cgroups));
  if ((exec_.flags & plan::kPlanIntoFrozen) == 0) TRY(refuseFrozen(cgroups_));
  if (cgroups_.memory() >= 0) {
    const char* file = cgroups_.memoryIsUnified() ? "memory.events" : "memory.oom_control";
    Result<Fd> counter = sys::openAt(cgroups_.memory(), file, O_RDONLY);
    if (counter.ok()) oomCounter_ = counter.take();
  }
  TRY(steps_.begin("seccomp listener"));
  Fd listener = TRY(connectListener(exec_.process.seccomp));
  TRY(steps_.begin("clone"));
  sys::Pair pair = TRY(sys::socketPair(SOCK_SEQPACKET));
  sys::Cloned cloned = TRY(sys::cloneProcess(0, cgroups_.unified()));
  if (cloned.pid == 0) {
    Result<Fd> socket = aboveProgram(std::move(pair.right), exec_.process);
    Result<Fd> joined = aboveProgram(std::move(pidfd), exec_.process);
    Result<Fd> entered = root.valid() ? aboveProgram(std::move(root), exec_.process) : Result<Fd>(Fd());
    Result<Fd> asked = listener.valid() ? aboveProgram(std::move(listener), exec_.process) : Result<Fd>(Fd());
    if (!socket.ok() || !joined.ok() || !entered.ok() || !asked.ok()) _exit(127);
    runJoiner({exec_, steps_, cgroups_, joined.value().get(), entered.value().get(), joinsUser, joinsTime,
               socket.value().get(), asked.value().get()});
  }
  joiner_ = std::move(cloned.pidfd);
  pair.right.reset();
  socket_ = std::move(pair.left);
  TRY(await());
  done_ = true;
  return Done{};
}

Status Join::await() {
  TRY(steps_.begin("wait for exec"));
  for (;;) {
    Report message;
    int fd = -1;
    const sys::Received received = TRY(sys::receiveMessage(socket_.get(), &message, sizeof message, &fd, 1));
    if (received.size == 0) break;
    const char* bytes = reinterpret_cast<const char*>(&message);
    if (received.size >= kReportBytes) {
      step_.assign(std::string_view(message.step, strnlen(message.step, sizeof message.step)));
      report_ = message;
      return failure("child", message.err);
    }
    TRY(accept(bytes[0], received.size, received.fdCount == 1 ? fd : -1));
  }
  if (progress_->launching != 0 && relayed_.process.valid()) return Done{};
  step_.assign(progress_->step);
  return failure("killed", ECONNRESET);
}

Status Join::accept(char kind, size_t size, int fd) {
  Fd passed(fd);
  if (!passed.valid() || size != 1) return failure("recvmsg", EBADMSG);
  if (kind == static_cast<char>(ChildMessage::terminal)) {
    relayed_.master = std::move(passed);
    return Done{};
  }
  if (kind != static_cast<char>(ChildMessage::process)) return failure("recvmsg", EBADMSG);
  relayed_.process = std::move(passed);
  const pid_t pid = TRY(sys::numberOf(relayed_.process.get()));
  report_.kind = ReportKind::started;
  report_.shimPid = getpid();
  report_.processPid = pid;
  report_.shimTicks = TRY(sys::startTicks(report_.shimPid));
  report_.processTicks = TRY(sys::startTicks(pid));
  report_.startedAtUnixMs = unixMs();
  // Its listener is told which process asks, and inside it cannot know its number here.
  if (!exec_.process.seccomp.listenerPath.empty()) TRY(sys::sendMessage(socket_.get(), &pid, sizeof pid));
  (void)sys::reap(joiner_.get(), true).ok();
  joiner_.reset();
  return Done{};
}

/** The caller reads end of file only when nobody else holds the other ends. */
void releaseStdio() {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3 && null >= 0; ++fd) dup2(null, fd);
  if (null > 2) close(null);
}

Report exitReport(const Report& started, const Fd& process, const Fd& oomCounter, uint64_t oomKillsBefore) {
  Report report = {};
  report.kind = ReportKind::exited;
  report.exitCode = -1;
  report.signal = SIGKILL;
  Result<sys::Ended> ended = sys::reap(process.get(), true);
  if (ended.ok()) {
    const bool exited = ended.value().code == CLD_EXITED;
    report.exitCode = exited ? ended.value().status : -1;
    report.signal = exited ? 0 : ended.value().status;
  }
  const bool more = oomCounter.valid() && readCounter(oomCounter.get(), "oom_kill") > oomKillsBefore;
  report.oomKilled = more && report.exitCode != 0 ? 1 : 0;
  report.startedAtUnixMs = started.startedAtUnixMs;
  report.finishedAtUnixMs = unixMs();
  return report;
}

}  // namespace

int runExec(MappedPlan plan) {
  Report started;
  Relayed relayed;
  Fd oomCounter;
  bool attended = true;
  {
    const MappedPlan mapped = std::move(plan);
    Arena arena(plan::kPlanArenaBytes);
    plan::Exec exec;
    void* shared = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || !plan::decode(mapped.bytes(), &arena, &exec)) {
      sendReport(failedReport("plan", failure("decode", shared == MAP_FAILED ? ENOMEM : EBADMSG)), kReportFd);
      return 1;
    }
    attended = (exec.flags & plan::kPlanUnattended) == 0;
    bool ok = false;
    {
      Join join(exec, static_cast<Progress*>(shared));
      Status status = join.run();
      ok = status.ok();
      started =
          ok || join.report().kind == ReportKind::failed ? join.report() : failedReport(join.step(), status.error());
      // A failed join keeps its processes, to reap them before anybody is told.
      if (ok) {
        relayed = join.takeRelayed();
        oomCounter = join.takeOomCounter();
      }
    }
    releaseStdio();
    if (ok && !attended && relayed.master.valid()) {
      Report terminal = started;
      terminal.kind = ReportKind::terminal;
      sendReport(terminal, kReportFd, relayed.master.get());
    }
    sendReport(started, kReportFd);
    if (!ok) return 1;
    munmap(shared, sizeof(Progress));
  }
  if (!attended) return 0;
  dropPrivileges();
  const uint64_t oomKillsBefore = oomCounter.valid() ? readCounter(oomCounter.get(), "oom_kill") : 0;
  relayed.control = Fd(kReportFd);
  if (relayed.master.valid()) relayed.stream = Fd(kRelayFd);
  relay(&relayed);
  const Report ended = exitReport(started, relayed.process, oomCounter, oomKillsBefore);
  sendReport(ended, relayed.control.get());
  return 0;
}

}  // namespace bulkhead::init
