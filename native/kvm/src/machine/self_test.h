// What this host's KVM can do, found out by running a guest of a few dozen instructions.
#pragma once

#include <cstdint>

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::vm {

/** `kvm`: runs unmodified kernels. `emulated`: runs small guests of ours. `none`: runs nothing. */
enum class KvmLevel { kvm, emulated, none };

enum class KvmReason {
  /** Nothing is wrong. */
  ok,
  /** The machine could not be made; the error says which call and why. */
  unusable,
  /** The guest did not run to its end in time, or ended otherwise. */
  guestFailed,
  /** Kernel code is interpreted, hundreds of times slower than it should run. */
  kernelCodeInterpreted,
  /** An instruction that kernels need is unknown to this KVM. */
  noCmpxchg16b,
  noXrstor,
};

struct SelfTest {
  KvmLevel level = KvmLevel::none;
  KvmReason reason = KvmReason::ok;
  /** VMX or SVM is among the processor's features. */
  bool virtualization = false;
  /** Of kernel code, exits included; 0 when it did not get that far. */
  uint64_t picosecondsPerInstruction = 0;
  /** For `unusable`. */
  Error error;
};

const char* nameOf(KvmLevel level);
const char* nameOf(KvmReason reason);

/** Takes /dev/kvm. Takes some milliseconds; five seconds at most, where a guest never ends. */
SelfTest selfTest(Fd kvm);

}  // namespace bulkhead::vm
