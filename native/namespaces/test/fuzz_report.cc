// Bytes that come as a report of a shim: refused, or of a known kind with texts that end and counts that fit.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "init/report.h"

namespace {

template <size_t kSize>
void mustEnd(const char (&text)[kSize]) {
  if (strnlen(text, kSize) == kSize) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bulkhead::init;
  Report report = {};
  // As recvmsg does: what does not fit is cut off.
  const size_t received = size < sizeof report ? size : sizeof report;
  memcpy(&report, data, received);
  if (!checkReport(&report, received).ok()) return 0;
  mustEnd(report.step);
  mustEnd(report.op);
  mustEnd(report.path);
  if (report.timings.count > kMaxTimed) abort();
  for (uint32_t index = 0; index < report.timings.count; ++index) mustEnd(report.timings.steps[index].name);
  switch (report.kind) {
    case ReportKind::started:
    case ReportKind::failed:
    case ReportKind::exited:
    case ReportKind::terminal:
    case ReportKind::mounted:
    case ReportKind::network:
      return 0;
  }
  abort();
}
