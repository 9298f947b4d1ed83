// CLOCK_MONOTONIC as one number.
#pragma once

#include <cstdint>
#include <ctime>

namespace bulkhead::vm {

inline uint64_t monotonicNs() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace bulkhead::vm
