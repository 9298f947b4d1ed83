#include "snapshot/vm_state.h"

namespace bulkhead::vm {

Result<VmState> VmState::save(const Vm& vm) {
  VmState state;
  uint32_t chip = 0;
  for (kvm_irqchip& each : state.controllers) {
    each.chip_id = chip++;
    TRY(control(vm.get(), "KVM_GET_IRQCHIP", KVM_GET_IRQCHIP, &each));
  }
  kvm_clock_data clock = {};
  TRY(control(vm.get(), "KVM_GET_CLOCK", KVM_GET_CLOCK, &clock));
  state.clockNs = clock.clock;
  return state;
}

Status VmState::restore(const Vm& vm) const {
  uint32_t chip = 0;
  for (kvm_irqchip each : controllers) {
    // Which one it is is not the file's to say.
    each.chip_id = chip++;
    TRY(control(vm.get(), "KVM_SET_IRQCHIP", KVM_SET_IRQCHIP, &each));
  }
  kvm_clock_data clock = {};
  clock.clock = clockNs;
  TRY(control(vm.get(), "KVM_SET_CLOCK", KVM_SET_CLOCK, &clock));
  return Done{};
}

void VmState::write(StateWriter* to) const {
  for (const kvm_irqchip& each : controllers) {
    for (const char byte : each.chip.dummy) to->put(byte);
  }
  to->put(clockNs);
}

VmState VmState::read(StateReader* from) {
  VmState state;
  for (kvm_irqchip& each : state.controllers) {
    for (char& byte : each.chip.dummy) byte = from->get<char>();
  }
  state.clockNs = from->get<uint64_t>();
  return state;
}

}  // namespace bulkhead::vm
