#include "devices/power.h"

#include "acpi/tables.h"
#include "events/clock.h"

namespace bulkhead::vm {
namespace {

/** The one event of several that is of use here. */
constexpr uint8_t kPanicked = 1;

}  // namespace

void PowerPorts::read(uint64_t, uint8_t* data, uint32_t size) {
  for (uint32_t index = 0; index < size; ++index) data[index] = 0;
}

void PowerPorts::write(uint64_t offset, const uint8_t* data, uint32_t size) {
  if (size != 1) return;
  if (offset == kSleepControl && data[0] == kSleepOff) ending_->end(Outcome::poweredOff);
  if (offset == kReset && data[0] == kResetValue) ending_->end(Outcome::reset);
}

void KeyboardController::read(uint64_t offset, uint8_t* data, uint32_t size) {
  // An idle controller: no output waiting, ready for a command.
  if (size == 1 && (offset == 0 || offset == 4)) data[0] = 0;
}

void KeyboardController::write(uint64_t offset, const uint8_t* data, uint32_t size) {
  constexpr uint64_t kCommand = 4;
  constexpr uint8_t kPulseReset = 0xfe;
  if (size == 1 && offset == kCommand && data[0] == kPulseReset) ending_->end(Outcome::reset);
}

void PanicPort::read(uint64_t, uint8_t* data, uint32_t size) {
  if (size == 1) data[0] = kPanicked;
}

void PanicPort::write(uint64_t, const uint8_t* data, uint32_t size) {
  if (size == 1 && (data[0] & kPanicked) != 0) ending_->end(Outcome::panicked);
}

void ProgressPort::read(uint64_t, uint8_t* data, uint32_t) {
  data[0] = last();
}

void ProgressPort::write(uint64_t, const uint8_t* data, uint32_t) {
  const uint64_t now = monotonicNs();
  uint64_t never = 0;
  if (!firstAt_.compare_exchange_strong(never, now)) {
    never = 0;
    secondAt_.compare_exchange_strong(never, now);
  }
  last_.store(data[0], std::memory_order_release);
  count_.fetch_add(1, std::memory_order_acq_rel);
}

}  // namespace bulkhead::vm
