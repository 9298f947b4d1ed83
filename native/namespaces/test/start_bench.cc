// start-bench ROOT [COUNT]: times whole starts of /bin/true from an overlay over ROOT (a directory with a static
// /bin/true), with all namespaces, the seccomp filter and cgroup limits, and prints where the time goes.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>

#include "init/report.h"
#include "launched.h"
#include "plan/compile.h"
#include "scene.h"

namespace bulkhead {
namespace {

double nowMs() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

struct Timed {
  double startedMs;
  double exitedMs;
  init::Report report;
};

bool startOnce(Launcher* launcher, const std::string& plan, Timed* timed) {
  const double before = nowMs();
  Result<test::Launched> launched = test::launch(launcher, init::Mode::container, plan);
  if (!launched.ok()) return false;
  struct pollfd slot = {launched.value().report.get(), POLLIN, 0};
  poll(&slot, 1, -1);
  Result<sys::Received> received = sys::receiveMessage(slot.fd, &timed->report, sizeof timed->report);
  timed->startedMs = nowMs() - before;
  Result<sys::Ended> ended = sys::reap(launched.value().pidfd.get(), true);
  timed->exitedMs = nowMs() - before;
  if (!received.ok() || timed->report.kind != init::ReportKind::started) {
    fprintf(stderr, "%s: %s: %s (%s)\n", timed->report.step, timed->report.op, strerror(timed->report.err),
            timed->report.path);
    return false;
  }
  return ended.ok() && ended.value().status == 0;
}

double quantile(std::vector<double> values, double at) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(at * static_cast<double>(values.size() - 1))];
}

void printSteps(const std::map<std::pair<int, std::string>, std::vector<double>>& steps) {
  std::vector<std::pair<double, std::pair<int, std::string>>> rows;
  for (const auto& [step, values] : steps) rows.push_back({quantile(values, 0.5), step});
  std::sort(rows.rbegin(), rows.rend());
  printf("%-8s %-24s %8s\n", "process", "step", "p50 us");
  for (const auto& [us, step] : rows)
    printf("%-8s %-24s %8.0f\n", step.first != 0 ? "child" : "shim", step.second.c_str(), us);
}

int run(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: start-bench ROOT [COUNT]\n");
    return 2;
  }
  const int count = argc > 2 ? atoi(argv[2]) : 200;
  char area[] = "/tmp/bulkhead-bench-XXXXXX";
  // The run directory is per boot and on a tmpfs, as the agent's is.
  char runDirectory[] = "/dev/shm/bulkhead-bench-XXXXXX";
  if (mkdtemp(area) == nullptr || mkdtemp(runDirectory) == nullptr) return 1;
  const test::Scene scene({argv[1], area, runDirectory, "bulkhead-start-bench-" + std::to_string(getpid())});
  std::string self(argv[0]);
  Launcher launcher;
  Status loaded = launcher.load(self.substr(0, self.rfind('/') + 1) + "bulkhead-init");
  if (!loaded.ok()) return 1;

  std::vector<double> started;
  std::vector<double> exited;
  std::vector<double> compiled;
  std::map<std::pair<int, std::string>, std::vector<double>> steps;
  seccomp::Cache cache;
  for (int round = 0; round < count; ++round) {
    // Every tenth start is traced, for the table only.
    const bool trace = round % 10 == 9;
    const std::string json = scene.containerInput(R"(["/bin/true"])", trace);
    plan::Compiled plan;
    plan::CompileError error;
    const double before = nowMs();
    if (!plan::compileContainer(json, &cache, &plan, &error)) {
      fprintf(stderr, "%s: %s\n", error.pointer.c_str(), error.message.c_str());
      return 1;
    }
    compiled.push_back((nowMs() - before) * 1000);
    Timed timed;
    const bool ok = startOnce(&launcher, plan.bytes, &timed);
    if (!scene.endCgroups() || !ok) return 1;
    if (!trace) {
      started.push_back(timed.startedMs);
      exited.push_back(timed.exitedMs);
      continue;
    }
    const init::Timings& timings = timed.report.timings;
    uint64_t last[2] = {0, 0};
    std::string name[2];
    for (uint32_t row = 0; row < timings.count && row < init::kMaxTimed; ++row) {
      const init::TimedStep& step = timings.steps[row];
      const int side = step.inChild;
      if (!name[side].empty()) steps[{side, name[side]}].push_back(static_cast<double>(step.atNs - last[side]) / 1e3);
      last[side] = step.atNs;
      name[side] = step.name;
    }
  }
  printSteps(steps);
  printf("compile        p50 %.0f us  p99 %.0f us\n", quantile(compiled, 0.5), quantile(compiled, 0.99));
  printf("start to exec  p50 %.2f ms p99 %.2f ms\n", quantile(started, 0.5), quantile(started, 0.99));
  printf("start to exit  p50 %.2f ms p99 %.2f ms\n", quantile(exited, 0.5), quantile(exited, 0.99));
  scene.removeRecords();
  rmdir(runDirectory);
  unlink((std::string(area) + "/log").c_str());
  rmdir((std::string(area) + "/work/work").c_str());
  for (const char* name : {"/upper", "/work", ""}) rmdir((std::string(area) + name).c_str());
  return 0;
}

}  // namespace
}  // namespace bulkhead

int main(int argc, char** argv) {
  return bulkhead::run(argc, argv);
}
