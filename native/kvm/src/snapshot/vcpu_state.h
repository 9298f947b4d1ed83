// What KVM holds of one processor.
#pragma once

#include <linux/kvm.h>

#include <vector>

#include "kvm/system.h"
#include "kvm/vcpu.h"
#include "snapshot/state_bytes.h"

namespace bulkhead::vm {

/** What this host's KVM can say of a processor, asked once. */
struct VcpuShape {
  /** Model-specific registers that make up a processor's state. */
  std::vector<uint32_t> registers;
  /** Of its extended state. */
  uint32_t extendedBytes = 0;
  /** KVM says the size (KVM_CAP_XSAVE2). */
  bool hasSize = false;

  static Result<VcpuShape> of(const KvmSystem& system);
};

/** Names of what a KVM could not say, each once: a guest of it cannot use that either. */
class Lacking {
 public:
  void note(std::string_view name);
  const std::vector<std::string_view>& names() const { return names_; }

 private:
  std::vector<std::string_view> names_;
};

struct VcpuState {
  /** 0: KVM does not say. */
  uint32_t tscKhz = 0;
  kvm_mp_state running = {};
  kvm_regs registers = {};
  kvm_sregs special = {};
  /** x87, SSE and what came after. */
  std::vector<uint32_t> extended;
  // These are none where KVM lacks them.
  std::vector<kvm_xcr> controls;
  std::vector<kvm_debugregs> debug;
  kvm_lapic_state apic = {};
  std::vector<kvm_msr_entry> modelSpecific;
  kvm_vcpu_events events = {};

  /** While the processor runs no guest code. */
  static Result<VcpuState> save(const Vcpu& vcpu, const VcpuShape& shape, Lacking* lacking);
  /**
   * Into a new processor whose CPUID is set.
   * @returns ENOTSUP when this host's processors are others; what KVM says of values that cannot be
   */
  Status restore(const Vcpu& vcpu, const VcpuShape& shape) const;
  void write(StateWriter* to) const;
  static VcpuState read(StateReader* from);
};

}  // namespace bulkhead::vm
