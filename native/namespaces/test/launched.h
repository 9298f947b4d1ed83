// A shim from request to plan in one call, for programs that have nothing to do meanwhile.
#pragma once

#include <string_view>

#include "launcher.h"

namespace bulkhead::test {

struct Launched {
  Fd report;
  Fd pidfd;
};

inline Result<Launched> launch(Launcher* launcher, init::Mode mode, std::string_view plan) {
  const int stdio[3] = {-1, -1, -1};
  Fd report = TRY(launcher->fork(mode, stdio, -1, {}));
  Forked forked = TRY(Launcher::await(report.get()));
  TRY(Launcher::hand(report.get(), plan));
  return Launched{std::move(report), std::move(forked.pidfd)};
}

}  // namespace bulkhead::test
