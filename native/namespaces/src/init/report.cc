#include "init/report.h"

#include <cstring>

namespace bulkhead::init {
namespace {

template <size_t kSize>
void put(char (&target)[kSize], std::string_view text) {
  const FixedText<kSize> bounded(text);
  memcpy(target, bounded.c_str(), bounded.view().size() + 1);
}

}  // namespace

Report failedReport(std::string_view step, const Error& error) {
  Report report = {};
  report.kind = ReportKind::failed;
  report.err = error.err;
  put(report.step, step);
  put(report.op, error.op);
  put(report.path, error.path.view());
  return report;
}

}  // namespace bulkhead::init
