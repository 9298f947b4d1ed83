// What this host's KVM says it can do, beyond what every machine needs.
#pragma once

#include <vector>

#include "kvm/system.h"

namespace bulkhead::vm {

struct Capability {
  /** As in linux/kvm.h. */
  const char* name;
  /** What KVM_CHECK_EXTENSION answers; 0: it has none. */
  int value;
};

/** In the order of linux/kvm.h. */
std::vector<Capability> capabilitiesOf(const KvmSystem& system);

}  // namespace bulkhead::vm
