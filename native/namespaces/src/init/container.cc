#include "init/container.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "init/privileges.h"
#include "init/start.h"
#include "plan/codec.h"

namespace bulkhead::init {
namespace {

void send(const Report& report, bool timed, const Progress* progress) {
  Report whole = report;
  if (timed) whole.timings = progress->timings;
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

/** Undone before it is reported: a caller that hears of a failure finds nothing left of it. */
Report attempt(const plan::Container& container, Progress* progress, Watched* watched) {
  Start start(container, progress, watched);
  Status status = start.run();
  if (status.ok() || start.report().kind == ReportKind::failed) return start.report();
  return failedReport(start.step(), status.error());
}

/** Apart from the loop that follows, so that its large frame is given back. */
[[gnu::noinline]] bool setUp(std::string_view planBytes, Watched* watched, bool* attended) {
  Arena arena(plan::kPlanArenaBytes);
  plan::Container container;
  void* shared = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED || !plan::decode(planBytes, &arena, &container)) {
    send(failedReport("plan", failure("decode", shared == MAP_FAILED ? ENOMEM : EBADMSG)), false, nullptr);
    return false;
  }
  *attended = (container.flags & plan::kPlanUnattended) == 0;
  Progress* progress = static_cast<Progress*>(shared);
  const Report report = attempt(container, progress, watched);
  send(report, (container.flags & plan::kPlanTrace) != 0, progress);
  munmap(shared, sizeof(Progress));
  return report.kind == ReportKind::started;
}

}  // namespace

int runContainer(std::string_view planBytes) {
  Watched watched;
  bool attended = true;
  if (!setUp(planBytes, &watched, &attended)) return 1;
  if (!attended) return 0;
  dropPrivileges();
  munmap(const_cast<char*>(planBytes.data()), planBytes.size());
  const ExitRecord record = watch(&watched);
  sendExit(record);
  return 0;
}

}  // namespace bulkhead::init
