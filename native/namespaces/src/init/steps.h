// Where a set-up is: names the failing step, times steps on demand, and injects faults in test builds.
#pragma once

#include <cstdint>

#include "plan/plan.h"
#include "sys/result.h"
#include "sys/span.h"

namespace bulkhead::init {

inline constexpr uint32_t kMaxTimed = 80;

struct TimedStep {
  char name[32];
  /** CLOCK_MONOTONIC when it began. */
  uint64_t atNs;
  uint8_t inChild;
};

struct Timings {
  uint32_t count;
  TimedStep steps[kMaxTimed];
};

/** One page that shim and child share, so that the shim can say where a child died that could not. */
struct Progress {
  /** 1 once nothing but execve is left. */
  uint8_t launching;
  char step[64];
  Timings timings;
};

class Steps {
 public:
  explicit Steps(Progress* progress) : progress_(progress) {}

  /** From here on as this plan or birth says. */
  template <class Plan>
  void follow(const Plan& plan) {
    timed_ = (plan.flags & plan::kPlanTrace) != 0;
    fault_ = plan.faultStep;
  }
  /** Begins a step; fails only when it is the one to be made to fail. */
  Status begin(std::string_view name);
  std::string_view current() const { return current_.view(); }
  void enterChild() { inChild_ = 1; }
  void setLaunching() { progress_->launching = 1; }

 private:
  void record(std::string_view name);

  Progress* progress_;
  bool timed_ = false;
  /** The step that must fail; empty: none. */
  Str fault_;
  FixedText<64> current_;
  uint8_t inChild_ = 0;
};

}  // namespace bulkhead::init
