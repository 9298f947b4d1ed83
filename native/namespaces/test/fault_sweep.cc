// fault-sweep start|ahead|exec fail|kill [--all | --cases N | --call N] [--seed S]: whole starts (or starts whose first
// process was born ahead, or execs) in which one system call fails once, or one process is killed at it. Afterwards
// nothing may be left and the same id must start again.
//
// --all tries every call of every process with every error, --call that one of each process; otherwise N of those cases
// are drawn by the seed.
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "fault_cases.h"
#include "init/report.h"
#include "leftovers.h"
#include "plain_start.h"
#include "plan/compile.h"
#include "scene.h"
#include "tracer.h"

namespace bulkhead::test {
namespace {

constexpr const char* kSleep = R"(["/bin/sleep","1000"])";
constexpr unsigned kSecondsPerCase = 20;
constexpr size_t kMaxViolations = 10;

struct Outcome {
  init::Report report = {};
  bool reported = false;
};

char description[160];

/** A case that never ends is a finding too; the tracer's end kills what it traces. */
void onAlarm(int) {
  const char text[] = "no end within 20 s: ";
  (void)write(STDERR_FILENO, text, sizeof text - 1);
  (void)write(STDERR_FILENO, description, strlen(description));
  _exit(3);
}

std::string compiled(const std::string& json, bool exec) {
  static seccomp::Cache cache;
  plan::Compiled plan;
  plan::CompileError error;
  const bool ok =
      exec ? plan::compileExec(json, &cache, &plan, &error) : plan::compileContainer(json, &cache, &plan, &error);
  if (ok) return plan.bytes;
  fprintf(stderr, "%s: %s\n", error.pointer.c_str(), error.message.c_str());
  exit(2);
}

std::string compiledBirth(const std::string& json) {
  static seccomp::Cache cache;
  plan::Compiled birth;
  plan::CompileError error;
  if (plan::compileBirth(json, &cache, &birth, &error)) return birth.bytes;
  fprintf(stderr, "%s: %s\n", error.pointer.c_str(), error.message.c_str());
  exit(2);
}

struct SweepOptions : FaultChoice {
  bool exec = false;
  bool ahead = false;
};

class Sweep {
 public:
  Sweep(const SweepOptions& options, const Scene& scene, const std::string& directory)
      : options_(options),
        scene_(scene),
        plain_(directory + "bulkhead-init"),
        tracer_(directory + "bulkhead-init", options.exec ? "exec" : "container", options.ahead ? "based" : nullptr) {}

  int run();

 private:
  Traced once(const Fault& fault, Outcome* outcome);
  void judge(const Fault& fault, const Traced& traced, const Outcome& outcome);
  void end(Outcome* outcome);
  void violation(const char* what);
  void openContainer();
  bool startsAgain(init::Report* report);

  const SweepOptions& options_;
  const Scene& scene_;
  Plain plain_;
  Tracer tracer_;
  Leftovers before_;
  /** The fork server, and the shim of the container that execs enter. */
  std::set<pid_t> kept_;
  std::string plan_;
  init::Report container_ = {};
  /** What the run of the case reported. */
  std::string step_;
  size_t hits_ = 0;
  size_t violations_ = 0;
};

void Sweep::violation(const char* what) {
  ++violations_;
  fprintf(stderr, "%s: %s%s%s%s\n", description, what, step_.empty() ? "" : " (", step_.c_str(),
          step_.empty() ? "" : ")");
}

/** The container that execs enter. */
void Sweep::openContainer() {
  if (!plain_.start(compiled(scene_.containerInput(kSleep, false), false), init::Mode::container, &container_)) exit(2);
}

/** Ends what was started; without a report it is whatever is not the container's first process. */
void Sweep::end(Outcome* outcome) {
  outcome->reported = receive(tracer_.report(), &outcome->report);
  if (outcome->reported && outcome->report.kind == init::ReportKind::started) {
    kill(outcome->report.processPid, SIGKILL);
  } else if (options_.exec) {
    for (const pid_t pid : Leftovers::processesOf(scene_)) {
      if (pid != container_.processPid) kill(pid, SIGKILL);
    }
  } else {
    (void)cgroup::killAll(scene_.cgroups()).ok();
  }
}

Traced Sweep::once(const Fault& fault, Outcome* outcome) {
  const Traced traced = tracer_.run(plan_, fault, [&] { end(outcome); });
  if (!outcome->reported) outcome->reported = receive(tracer_.report(), &outcome->report);
  return traced;
}

bool Sweep::startsAgain(init::Report* report) {
  if (options_.exec) {
    const std::string plan =
        compiled(scene_.execInput(R"(["/bin/true"])", container_.processPid, container_.processTicks), true);
    return plain_.start(plan, init::Mode::exec, report);
  }
  return plain_.start(compiled(scene_.containerInput(R"(["/bin/true"])", false), false), init::Mode::container, report);
}

void Sweep::judge(const Fault& fault, const Traced& traced, const Outcome& outcome) {
  const bool killed = fault.kind == Fault::Kind::kill;
  step_ = !outcome.reported ? "no report"
          : outcome.report.kind == init::ReportKind::started
              ? "started"
              : std::string(outcome.report.step) + ": " + outcome.report.op + ": " + strerror(outcome.report.err);
  const bool started = outcome.reported && outcome.report.kind == init::ReportKind::started;
  // The call that was hit may be another than the model's: processes wait for each other in more than one order.
  if (fault.err == EINTR && Leftovers::isInterruptible(traced.hit) && !started) {
    violation("an interrupted call was not repeated");
  }
  if (outcome.reported && outcome.report.kind == init::ReportKind::exited) violation("nobody was told that it runs");
  if (!Leftovers::awaitOnly(kept_)) violation("a process is left");
  if (options_.exec) {
    const std::vector<pid_t> inside = Leftovers::processesOf(scene_);
    if (inside != std::vector<pid_t>{container_.processPid}) violation("a process is left in the container");
  } else {
    // A start that said it failed has undone everything; after any other end the agent removes what there is.
    if (outcome.reported && !started && !killed) {
      if (scene_.cgroupsExist()) violation("a cgroup is left");
      if (!Leftovers::recordsOf(scene_).empty()) violation("a record is left");
    }
    if (started && !killed && !Leftovers::hasExit(scene_)) violation("no exit record");
    if (!scene_.endCgroups()) violation("the cgroups cannot be removed");
    scene_.removeRecords();
  }
  init::Report again = {};
  if (!startsAgain(&again)) violation("the id cannot be used again");
  if (!Leftovers::awaitOnly(kept_)) violation("the start after it left a process");
  if (!options_.exec) {
    if (!Leftovers::hasExit(scene_)) violation("the start after it left no exit record");
    if (!scene_.endCgroups()) violation("the cgroups cannot be removed");
    scene_.removeRecords();
  }
  const std::string difference = before_.difference(Leftovers::now(scene_));
  if (!difference.empty()) violation(difference.c_str());
}

int Sweep::run() {
  signal(SIGALRM, onAlarm);
  if (options_.exec) {
    openContainer();
    kept_ = Leftovers::children();
  } else {
    init::Report first = {};
    if (!startsAgain(&first)) return 2;
    kept_ = Leftovers::children();
    kept_.erase(first.shimPid);
    if (!Leftovers::awaitOnly(kept_) || !scene_.endCgroups()) return 2;
    scene_.removeRecords();
  }
  before_ = Leftovers::now(scene_);
  plan_ = options_.exec ? compiled(scene_.execInput(kSleep, container_.processPid, container_.processTicks), true)
                        : compiled(scene_.containerInput(kSleep, false), false);
  if (options_.ahead) {
    tracer_.follow(std::exchange(plan_, compiledBirth(scene_.birthInput())));
  }
  snprintf(description, sizeof description, "without a fault");
  alarm(kSecondsPerCase);
  Outcome good;
  const Traced model = once({}, &good);
  if (!good.reported || good.report.kind != init::ReportKind::started) violation("a good start did not start");
  judge({}, model, good);
  const std::vector<Fault> cases = chooseFaults(model, options_);
  for (const Fault& fault : cases) {
    // One hole shows at many calls; the first few say where it is.
    if (violations_ >= kMaxViolations) break;
    const long number = model.calls[fault.process][fault.call];
    snprintf(description, sizeof description, "process %u, call %zu (system call %ld): %s %u", fault.process,
             fault.call, number, options_.kill ? "kill" : strerrorname_np(fault.err),
             options_.kill ? fault.victim : fault.err);
    alarm(kSecondsPerCase);
    Outcome outcome;
    const Traced traced = once(fault, &outcome);
    if (traced.hit >= 0) ++hits_;
    judge(fault, traced, outcome);
  }
  alarm(0);
  if (options_.exec) {
    step_.clear();
    if (!scene_.endCgroups()) violation("the container's cgroups stay");
    kept_.erase(container_.shimPid);
    if (!Leftovers::awaitOnly(kept_)) violation("the container does not end");
    scene_.removeRecords();
  }
  size_t calls = 0;
  for (const auto& process : model.calls) calls += process.size();
  printf("{\"seed\":%u,\"processes\":%zu,\"calls\":%zu,\"cases\":%zu,\"hits\":%zu,\"violations\":%zu}\n", options_.seed,
         model.calls.size(), calls, cases.size(), hits_, violations_);
  return violations_ == 0 ? 0 : 1;
}

int sweep(int argc, char** argv) {
  SweepOptions options;
  const std::string_view subject = argc > 1 ? argv[1] : "";
  options.exec = subject == "exec";
  options.ahead = subject == "ahead";
  if ((subject != "start" && !options.exec && !options.ahead) || !parseChoice(argc - 2, argv + 2, &options)) {
    fprintf(stderr, "usage: fault-sweep start|ahead|exec fail|kill [--all | --cases N | --call N] [--seed S]\n");
    return 2;
  }
  const std::string self(argv[0]);
  Stage stage;
  const Scene scene({stage.layer(), stage.area(), stage.runDirectory(), "bulkhead-sweep-" + std::to_string(getpid())});
  // Of the machine's mounts only those of our own making are to be seen.
  if (unshare(CLONE_NEWNS) < 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) return 2;
  // This process only cleans up, also after a sweep that was given up.
  const pid_t child = fork();
  if (child < 0) return 2;
  // Whatever a dead shim leaves becomes the sweep's own child, and is seen.
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  if (child == 0) {
    const int code = Sweep(options, scene, self.substr(0, self.rfind('/') + 1)).run();
    fflush(stdout);
    _exit(code);
  }
  int status = 0;
  waitpid(child, &status, 0);
  const bool clean = scene.endCgroups() && Leftovers::awaitOnly({});
  return WIFEXITED(status) && clean ? WEXITSTATUS(status) : 4;
}

}  // namespace
}  // namespace bulkhead::test

int main(int argc, char** argv) {
  return bulkhead::test::sweep(argc, argv);
}
