#include "init/container.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "init/privileges.h"
#include "init/scheduling.h"
#include "init/start.h"
#include "plan/codec.h"

namespace bulkhead::init {
namespace {

void send(const Report& report, bool timed, const Progress* progress) {
  Report whole = report;
  if (timed) whole.timings = progress->timings;
  // Steps are counted beyond those there is room for.
  whole.timings.count = std::min(whole.timings.count, kMaxTimed);
  sendReport(whole, kReportFd, -1, timed ? sizeof whole : kReportBytes);
}

/** Told before the shim ends, because its own end takes down the container's mounts. */
void sendExit(const ExitRecord& record) {
  Report report = {};
  report.kind = ReportKind::exited;
  report.exitCode = record.code;
  report.signal = record.signal;
  report.oomKilled = record.oomKilled ? 1 : 0;
  report.leaseExpired = record.leaseExpired ? 1 : 0;
  report.startedAtUnixMs = record.startedAtUnixMs;
  report.finishedAtUnixMs = record.finishedAtUnixMs;
  sendReport(report, kReportFd);
}

/** Of a set-up that is over, and undone if it failed: a caller that hears of a failure finds nothing left of it. */
Report outcome(const Start& start, const Status& status) {
  if (status.ok() || start.report().kind == ReportKind::failed) return start.report();
  return failedReport(start.step(), status.error());
}

struct Outcome {
  Report report = {};
  /** Nobody wants to hear it, or it is told. */
  bool heard = false;
  bool timed = false;
  bool attended = true;
};

Outcome attempt(MappedPlan first, HandedFds handed, Base base, Progress* progress, Watched* watched) {
  Arena births(plan::kPlanArenaBytes);
  Arena plans(plan::kPlanArenaBytes);
  plan::Birth birth;
  plan::Container container;
  MappedPlan mapped;
  Fd file;
  Outcome result;
  {
    Start start(progress, watched, base);
    if (plan::isBirth(first.bytes())) {
      if (plan::decode(first.bytes(), &births, &birth)) start.bear(birth);
      file = receivePlan(kReportFd);
      result.heard = !file.valid();
      if (result.heard) return result;
      mapped = MappedPlan(file.get());
    } else {
      mapped = std::move(first);
    }
    if (!plan::decode(mapped.bytes(), &plans, &container)) {
      result.report = failedReport("plan", failure("decode", EBADMSG));
      return result;
    }
    result.attended = (container.flags & plan::kPlanUnattended) == 0;
    if (result.attended && container.process.preservedFds != handed.count()) {
      result.report = failedReport("plan", failure("decode", EBADMSG, "descriptors of the program"));
      return result;
    }
    result.timed = (container.flags & plan::kPlanTrace) != 0;
    const Status status = start.run(container, file);
    result.report = outcome(start, status);
    result.heard = status.ok();
    // Whoever hears of a start may look at once, and finds a shim without what was its program's or for the set-up
    // only.
    handed = HandedFds();
    base = Base();
    // Before the set-up's memory is given back; of a failure only when nothing is left.
    if (status.ok()) send(result.report, result.timed, progress);
  }
  return result;
}

/** Apart from the loop that follows, so that its large frame is given back. */
[[gnu::noinline]] bool setUp(MappedPlan first, HandedFds handed, Base base, Watched* watched, bool* attended) {
  void* shared = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    send(failedReport("plan", failure("mmap", ENOMEM)), false, nullptr);
    return false;
  }
  Progress* progress = static_cast<Progress*>(shared);
  const Outcome outcome = attempt(std::move(first), std::move(handed), std::move(base), progress, watched);
  *attended = outcome.attended;
  if (!outcome.heard) send(outcome.report, outcome.timed, progress);
  munmap(shared, sizeof(Progress));
  return outcome.report.kind == ReportKind::started;
}

}  // namespace

int runContainer(MappedPlan plan, HandedFds handed, Base base) {
  Watched watched;
  bool attended = true;
  if (!setUp(std::move(plan), std::move(handed), std::move(base), &watched, &attended)) return 1;
  if (!attended) return 0;
  (void)setAffinity({}).ok();
  dropPrivileges();
  const ExitRecord record = watch(&watched);
  sendExit(record);
  return 0;
}

}  // namespace bulkhead::init
