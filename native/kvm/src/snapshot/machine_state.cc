#include "snapshot/machine_state.h"

#include "kvm/lists.h"
#include "machine/machine.h"
#include "memory/layout.h"
#include "snapshot/state_file.h"

namespace bulkhead::vm {
namespace {

constexpr uint32_t kMaxDeviceBytes = 256 * 1024;

}  // namespace

std::string MachineState::seal() const {
  StateWriter to;
  to.put(id);
  to.put(memoryBytes);
  to.put(static_cast<uint8_t>(interpreted));
  to.putAll(cpuid);
  vm.write(&to);
  to.put(static_cast<uint32_t>(vcpus.size()));
  for (const VcpuState& each : vcpus) each.write(&to);
  to.put(serial);
  to.put(static_cast<uint32_t>(devices.size()));
  for (const DeviceState& each : devices) {
    to.put(each.kind);
    to.putText(each.bytes);
  }
  return sealState(to.bytes());
}

Result<MachineState> MachineState::open(std::string_view file) {
  StateReader from(TRY(openState(file)));
  MachineState state;
  state.id = from.get<SnapshotId>();
  state.memoryBytes = from.get<uint64_t>();
  state.interpreted = from.get<uint8_t>() != 0;
  state.cpuid = from.getAll<kvm_cpuid_entry2>(kMaxCpuidEntries);
  state.vm = VmState::read(&from);
  const auto cpus = from.get<uint32_t>();
  if (cpus == 0 || cpus > kMaxCpus) from.refuse();
  for (uint32_t index = 0; index < cpus && !from.refused(); ++index) state.vcpus.push_back(VcpuState::read(&from));
  state.serial = from.get<SerialState>();
  const auto devices = from.get<uint32_t>();
  if (devices > layout::kMaxVirtioDevices) from.refuse();
  for (uint32_t index = 0; index < devices && !from.refused(); ++index) {
    const auto kind = from.get<DeviceKind>();
    state.devices.push_back({kind, std::string(from.getText(kMaxDeviceBytes))});
  }
  TRY(from.finish("its content is not a machine's"));
  return state;
}

}  // namespace bulkhead::vm
