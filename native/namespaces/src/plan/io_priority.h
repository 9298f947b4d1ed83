// Numbers of ioprio_set(2). The kernel's own header is no C++ in some of its releases: a parameter is called `class`.
#pragma once

#include <cstdint>

namespace bulkhead::plan {

inline constexpr int kIoPriorityOfProcess = 1;
inline constexpr uint32_t kIoRealTime = 1;
inline constexpr uint32_t kIoBestEffort = 2;
inline constexpr uint32_t kIoIdle = 3;

constexpr uint32_t ioPriority(uint32_t ioClass, uint32_t level) {
  constexpr uint32_t kClassShift = 13;
  return ioClass << kClassShift | level;
}

}  // namespace bulkhead::plan
