// The processor that a guest sees: the host's, less what this monitor does not offer.
#pragma once

#include <linux/kvm.h>

#include <vector>

#include "sys/result.h"

namespace bulkhead::vm {

struct CpuidTemplate {
  uint32_t cpus = 1;
  /** For a KVM that interprets kernel code: hides what its interpreter lacks (cmpxchg16b, xsave and all built on it).
   */
  bool interpreted = false;
};

/** What processor `index` of `cpus` answers to CPUID; `supported` is KVM's own list. */
std::vector<kvm_cpuid_entry2> guestCpuid(const std::vector<kvm_cpuid_entry2>& supported, const CpuidTemplate& chosen,
                                         uint32_t index);

/** True when the processor this runs on has VMX or SVM: a KVM without them runs the guest's kernel in software. */
bool hostHasVirtualization();

}  // namespace bulkhead::vm
