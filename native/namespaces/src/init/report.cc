#include "init/report.h"

#include <poll.h>

#include <cerrno>
#include <cstring>

#include "sys/syscalls.h"

namespace bulkhead::init {
namespace {

constexpr int kSendTries = 100;
constexpr int kSendRetryMs = 10;

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

void sendReport(const Report& report, int socket, int fd, size_t bytes) {
  for (int tries = 0; tries < kSendTries; ++tries) {
    Status sent = sys::sendMessage(socket, &report, bytes, &fd, fd < 0 ? 0 : 1);
    if (sent.ok() || sent.error().err == EPIPE || sent.error().err == ECONNRESET) return;
    poll(nullptr, 0, kSendRetryMs);
  }
}

}  // namespace bulkhead::init
