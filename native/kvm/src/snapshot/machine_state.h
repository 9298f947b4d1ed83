// Everything of a machine but its RAM, as a state file holds it.
#pragma once

#include <string>
#include <vector>

#include "devices/serial.h"
#include "snapshot/memory_file.h"
#include "snapshot/vcpu_state.h"
#include "snapshot/vm_state.h"
#include "virtio/device.h"

namespace bulkhead::vm {

struct DeviceState {
  DeviceKind kind;
  /** As Transport::save answers it. */
  std::string bytes;
};

struct MachineState {
  /** The memory file has the same. */
  SnapshotId id = {};
  uint64_t memoryBytes = 0;
  /** See CpuidTemplate. */
  bool interpreted = false;
  /** Of the first processor: a host that cannot show its guest the same takes no such snapshot. */
  std::vector<kvm_cpuid_entry2> cpuid;
  VmState vm;
  std::vector<VcpuState> vcpus;
  SerialState serial = {};
  /** In the order in which the guest finds them. */
  std::vector<DeviceState> devices;

  /** A whole state file. */
  std::string seal() const;
  /** @returns EBADMSG or ENOTSUP and why this is no such file; values are in bounds, and not yet what KVM takes */
  static Result<MachineState> open(std::string_view file);
};

}  // namespace bulkhead::vm
