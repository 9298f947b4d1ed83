// The processor's time stamp counter.
#pragma once

#include <cstdint>

namespace bulkhead::vm {

/**
 * How often the counter counts, in kHz, measured against the monotonic clock for 20 ms: right to some ten millionths. A
 * guest whose processors are emulated counts the same and has no clock of its own to find it out by.
 */
uint64_t measureTscKhz();

}  // namespace bulkhead::vm
