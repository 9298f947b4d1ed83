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

/**
 * `supported` with the caches that `shown` has, a guest's processor: KVM fills in those of the core that it happens to
 * be asked on, and a host may have two kinds of cores.
 */
std::vector<kvm_cpuid_entry2> withCachesOf(const std::vector<kvm_cpuid_entry2>& supported,
                                           const std::vector<kvm_cpuid_entry2>& shown);

/** Whether a guest would not tell one processor from the other but by its caches. */
bool isSameButForCaches(const std::vector<kvm_cpuid_entry2>& one, const std::vector<kvm_cpuid_entry2>& other);

/** True when the processor this runs on has VMX or SVM: a KVM without them runs the guest's kernel in software. */
bool hostHasVirtualization();

}  // namespace bulkhead::vm
