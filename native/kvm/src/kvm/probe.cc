#include "kvm/probe.h"

namespace bulkhead::vm {

#define CAPABILITY(name) \
  { #name, system.value(name) }

std::vector<Capability> capabilitiesOf(const KvmSystem& system) {
  return {
      CAPABILITY(KVM_CAP_NR_VCPUS),          CAPABILITY(KVM_CAP_NR_MEMSLOTS),
      CAPABILITY(KVM_CAP_ADJUST_CLOCK),      CAPABILITY(KVM_CAP_XSAVE),
      CAPABILITY(KVM_CAP_TSC_CONTROL),       CAPABILITY(KVM_CAP_GET_TSC_KHZ),
      CAPABILITY(KVM_CAP_MAX_VCPUS),         CAPABILITY(KVM_CAP_KVMCLOCK_CTRL),
      CAPABILITY(KVM_CAP_READONLY_MEM),      CAPABILITY(KVM_CAP_IOEVENTFD_ANY_LENGTH),
      CAPABILITY(KVM_CAP_X86_DISABLE_EXITS), CAPABILITY(KVM_CAP_XSAVE2),
      CAPABILITY(KVM_CAP_BINARY_STATS_FD),
  };
}

#undef CAPABILITY

}  // namespace bulkhead::vm
