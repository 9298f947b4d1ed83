#include "init/steps.h"

#include <cerrno>
#include <cstring>
#include <ctime>

namespace bulkhead::init {

Status Steps::begin(std::string_view name) {
  current_.assign(name);
  if (inChild_ != 0) memcpy(progress_->step, current_.c_str(), current_.view().size() + 1);
  if (timed_) record(name);
#ifdef BULKHEAD_FAULTS
  if (!fault_.empty() && name == fault_.view()) return failure("fault", EIO, name);
#endif
  return Done{};
}

void Steps::record(std::string_view name) {
  // Both processes add rows, so the row is taken atomically.
  const uint32_t row = __atomic_fetch_add(&progress_->timings.count, 1, __ATOMIC_RELAXED);
  if (row >= kMaxTimed) return;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  TimedStep& step = progress_->timings.steps[row];
  const FixedText<sizeof step.name> shortName(name);
  memcpy(step.name, shortName.c_str(), shortName.view().size() + 1);
  step.atNs = static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  step.inChild = inChild_;
}

}  // namespace bulkhead::init
