#include "machine/tsc.h"

#include <x86intrin.h>

#include <ctime>

namespace bulkhead::vm {
namespace {

constexpr uint64_t kNsPerMs = 1000 * 1000;
constexpr uint64_t kMeasuredNs = 20 * kNsPerMs;

uint64_t nowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 * kNsPerMs + static_cast<uint64_t>(now.tv_nsec);
}

struct Sample {
  uint64_t ns;
  uint64_t count;
};

/** Clock and counter of one moment: of several readings the one that was interrupted least. */
Sample sample() {
  Sample best{};
  uint64_t narrowest = UINT64_MAX;
  for (int round = 0; round < 32; round++) {
    const uint64_t before = __rdtsc();
    const uint64_t ns = nowNs();
    const uint64_t after = __rdtsc();
    if (after - before >= narrowest) continue;
    narrowest = after - before;
    best = {.ns = ns, .count = before + narrowest / 2};
  }
  return best;
}

}  // namespace

uint64_t measureTscKhz() {
  const Sample first = sample();
  while (nowNs() - first.ns < kMeasuredNs) continue;
  const Sample last = sample();
  return (last.count - first.count) * kNsPerMs / (last.ns - first.ns);
}

}  // namespace bulkhead::vm
