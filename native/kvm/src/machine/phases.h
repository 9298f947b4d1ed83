// When each step of a machine's start began: for whoever measures it, at the price of a look at the clock.
#pragma once

#include <array>
#include <cstddef>

#include "events/clock.h"
#include "sys/span.h"

namespace bulkhead::vm {

class Phases {
 public:
  struct Phase {
    const char* name;
    /** CLOCK_MONOTONIC. */
    uint64_t beganNs;
  };

  /** Ends the step before. */
  void begin(const char* name) {
    if (count_ < phases_.size()) phases_[count_++] = {name, monotonicNs()};
  }
  Span<const Phase> all() const { return {phases_.data(), count_}; }

 private:
  std::array<Phase, 16> phases_ = {};
  uint32_t count_ = 0;
};

}  // namespace bulkhead::vm
