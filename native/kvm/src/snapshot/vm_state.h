// What KVM holds of a machine apart from its processors: interrupt controllers and the guest's clock.
#pragma once

#include <linux/kvm.h>

#include "kvm/vm.h"
#include "snapshot/state_bytes.h"

namespace bulkhead::vm {

struct VmState {
  /** Two PICs and the IOAPIC. */
  kvm_irqchip controllers[3] = {};
  /** Nanoseconds of the guest's clock: it goes on from there, whatever time has passed on the host. */
  uint64_t clockNs = 0;

  static Result<VmState> save(const Vm& vm);
  /** After the processors, whose local APICs the controllers reach. */
  Status restore(const Vm& vm) const;
  void write(StateWriter* to) const;
  static VmState read(StateReader* from);
};

}  // namespace bulkhead::vm
