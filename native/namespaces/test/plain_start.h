// Starts without a tracer, by the agent's own path.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "init/report.h"
#include "launched.h"

namespace bulkhead::test {

inline bool receive(const Fd& socket, init::Report* report) {
  return recv(socket.get(), report, sizeof *report, MSG_DONTWAIT) >= static_cast<ssize_t>(init::kReportBytes);
}

/** Starts without a tracer: a container for execs to enter, and the proof that an id can be used again. */
class Plain {
 public:
  explicit Plain(const std::string& executable) {
    if (!launcher_.load(executable).ok()) exit(2);
  }
  bool start(const std::string& plan, init::Mode mode, init::Report* report) {
    Result<Launched> launched = launch(&launcher_, mode, plan);
    if (!launched.ok()) return false;
    struct pollfd slot = {launched.value().report.get(), POLLIN, 0};
    const bool heard = poll(&slot, 1, 10'000) > 0 && receive(launched.value().report, report);
    if (heard && report->kind == init::ReportKind::started) return true;
    fprintf(stderr, "plain start: %s: %s: %s %s\n", report->step, report->op, strerror(report->err), report->path);
    return false;
  }

 private:
  Launcher launcher_;
};

}  // namespace bulkhead::test
