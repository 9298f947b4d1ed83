#include "kvm/vcpu.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "kvm/lists.h"
#include "kvm/system.h"

namespace bulkhead::vm {
namespace {

struct MsrValue {
  uint32_t index;
  uint64_t value;
};

// Intel SDM volume 4, AMD APM volume 2 appendix A: index, and the value after firmware has run.
constexpr MsrValue kMsrs[] = {
    {0x174, 0},         // IA32_SYSENTER_CS
    {0x175, 0},         // IA32_SYSENTER_ESP
    {0x176, 0},         // IA32_SYSENTER_EIP
    {0xc0000081, 0},    // STAR
    {0xc0000082, 0},    // LSTAR
    {0xc0000083, 0},    // CSTAR
    {0xc0000084, 0},    // SYSCALL_MASK
    {0xc0000102, 0},    // KERNEL_GS_BASE
    {0x10, 0},          // IA32_TIME_STAMP_COUNTER
    {0x1a0, 1},         // IA32_MISC_ENABLE: fast string operations
    {0x2ff, 0x800 | 6}  // IA32_MTRR_DEF_TYPE: enabled, all memory write-back
};

// Intel SDM volume 3, local vector table: delivery modes of the two interrupt pins as firmware leaves them.
constexpr size_t kLvt0 = 0x350;
constexpr size_t kLvt1 = 0x360;
constexpr uint32_t kDeliveryMask = 0x700;
constexpr uint32_t kDeliverNmi = 0x400;
constexpr uint32_t kDeliverExternal = 0x700;

void setDelivery(kvm_lapic_state* apic, size_t offset, uint32_t mode) {
  uint32_t value;
  memcpy(&value, apic->regs + offset, sizeof value);
  value = (value & ~kDeliveryMask) | mode;
  memcpy(apic->regs + offset, &value, sizeof value);
}

Status setMsrs(int vcpu) {
  constexpr size_t kCount = sizeof kMsrs / sizeof kMsrs[0];
  KvmList<kvm_msr_entry, kCount> list;
  list.count = kCount;
  for (size_t index = 0; index < kCount; ++index) {
    list.entries[index].index = kMsrs[index].index;
    list.entries[index].data = kMsrs[index].value;
  }
  // The answer is how many were taken; the first that was not is where it stopped.
  const int taken = TRY(control(vcpu, "KVM_SET_MSRS", kSetMsrs, &list));
  if (taken != static_cast<int>(kCount)) return failure("KVM_SET_MSRS", EINVAL);
  return Done{};
}

}  // namespace

Result<Vcpu> Vcpu::map(Fd fd, size_t sharedBytes) {
  Mapping shared = TRY(Mapping::create(fd.get(), sharedBytes, 0, "vCPU"));
  Vcpu vcpu(std::move(fd), std::move(shared));
  vcpu.hypercalls_ = VcpuStatistic::find(vcpu.fd_.get(), "hypercalls");
  return vcpu;
}

Status Vcpu::setCpuid(const std::vector<kvm_cpuid_entry2>& entries) const {
  if (entries.size() > kMaxCpuidEntries) return failure("KVM_SET_CPUID2", E2BIG);
  const auto list = std::make_unique<CpuidList>();
  list->count = static_cast<uint32_t>(entries.size());
  std::copy(entries.begin(), entries.end(), list->entries);
  TRY(control(fd_.get(), "KVM_SET_CPUID2", kSetCpuid2, list.get()));
  return Done{};
}

Status Vcpu::reset() const {
  TRY(setMsrs(fd_.get()));
  kvm_fpu fpu = {};
  fpu.fcw = 0x37f;     // Intel SDM volume 1: FINIT
  fpu.mxcsr = 0x1f80;  // and all SSE exceptions masked
  TRY(control(fd_.get(), "KVM_SET_FPU", KVM_SET_FPU, &fpu));
  kvm_lapic_state apic;
  TRY(control(fd_.get(), "KVM_GET_LAPIC", KVM_GET_LAPIC, &apic));
  setDelivery(&apic, kLvt0, kDeliverExternal);
  setDelivery(&apic, kLvt1, kDeliverNmi);
  TRY(control(fd_.get(), "KVM_SET_LAPIC", KVM_SET_LAPIC, &apic));
  return Done{};
}

Result<EntryState> Vcpu::state() const {
  EntryState state;
  TRY(control(fd_.get(), "KVM_GET_REGS", KVM_GET_REGS, &state.registers));
  TRY(control(fd_.get(), "KVM_GET_SREGS", KVM_GET_SREGS, &state.special));
  return state;
}

Status Vcpu::setState(const EntryState& state) const {
  EntryState copy = state;
  TRY(control(fd_.get(), "KVM_SET_SREGS", KVM_SET_SREGS, &copy.special));
  TRY(control(fd_.get(), "KVM_SET_REGS", KVM_SET_REGS, &copy.registers));
  return Done{};
}

Status Vcpu::run() const {
  TRY(control(fd_.get(), "KVM_RUN", KVM_RUN));
  return Done{};
}

Result<bool> Vcpu::settle() const {
  interrupt();
  const auto ran = run();
  if (ran.ok()) return false;
  if (ran.error().err == EINTR) return true;
  return ran.error();
}

void Vcpu::tellPaused() const {
  // EINVAL: this guest has not turned kvmclock on.
  ioctl(fd_.get(), KVM_KVMCLOCK_CTRL, 0);
}

void Vcpu::interrupt() const {
  __atomic_store_n(&shared().immediate_exit, 1, __ATOMIC_SEQ_CST);
}

void Vcpu::allow() const {
  __atomic_store_n(&shared().immediate_exit, 0, __ATOMIC_SEQ_CST);
}

}  // namespace bulkhead::vm
