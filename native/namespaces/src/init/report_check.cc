#include <cerrno>

#include "init/report.h"

namespace bulkhead::init {
namespace {

template <size_t kSize>
void end(char (&text)[kSize]) {
  text[kSize - 1] = '\0';
}

}  // namespace

Status checkReport(Report* report, size_t bytes) {
  const bool timed = bytes == sizeof *report;
  const auto kind = static_cast<uint32_t>(report->kind);
  const bool known =
      kind >= static_cast<uint32_t>(ReportKind::started) && kind <= static_cast<uint32_t>(ReportKind::network);
  if ((bytes != kReportBytes && !timed) || !known) return failure("recvmsg", EBADMSG, "report");
  end(report->step);
  end(report->op);
  end(report->path);
  if (!timed) return Done{};
  if (report->timings.count > kMaxTimed) return failure("recvmsg", EBADMSG, "report");
  for (TimedStep& step : report->timings.steps) end(step.name);
  return Done{};
}

}  // namespace bulkhead::init
