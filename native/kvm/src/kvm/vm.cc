#include "kvm/vm.h"

#include <cerrno>

#include "memory/layout.h"

namespace bulkhead::vm {
namespace {

/** KVM_CREATE_VM waits where signals may interrupt it; nothing is done then. */
Result<int> createFd(int system) {
  for (;;) {
    auto created = control(system, "KVM_CREATE_VM", KVM_CREATE_VM);
    if (created.ok() || created.error().err != EINTR) return created;
  }
}

}  // namespace

Result<Vm> Vm::create(const KvmSystem& system, const GuestMemory& memory) {
  Vm vm{Fd(TRY(createFd(system.get())))};
  TRY(control(vm.fd_.get(), "KVM_SET_TSS_ADDR", KVM_SET_TSS_ADDR, static_cast<unsigned long>(layout::kTss)));
  uint32_t slot = 0;
  for (const Region& region : memory.regions()) {
    kvm_userspace_memory_region described = {};
    described.slot = slot++;
    described.guest_phys_addr = region.address;
    described.memory_size = region.sizeBytes;
    described.userspace_addr = reinterpret_cast<uint64_t>(region.host);
    TRY(control(vm.fd_.get(), "KVM_SET_USER_MEMORY_REGION", KVM_SET_USER_MEMORY_REGION, &described));
  }
  // Before any vCPU: a vCPU gets its local APIC from it. No PIT: kvmclock and the TSC deadline timer do its work, and
  // its kernel thread would run outside the machine's cgroup.
  TRY(control(vm.fd_.get(), "KVM_CREATE_IRQCHIP", KVM_CREATE_IRQCHIP));
  return vm;
}

Result<Vcpu> Vm::createVcpu(const KvmSystem& system, uint32_t index) const {
  Fd fd(TRY(control(fd_.get(), "KVM_CREATE_VCPU", KVM_CREATE_VCPU, static_cast<unsigned long>(index))));
  return Vcpu::map(std::move(fd), system.vcpuBytes());
}

Status Vm::addDoorbell(const Doorbell& doorbell, int eventFd) const {
  kvm_ioeventfd request = {};
  request.addr = doorbell.address;
  request.len = doorbell.sizeBytes;
  request.datamatch = doorbell.value;
  request.fd = eventFd;
  request.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
  TRY(control(fd_.get(), "KVM_IOEVENTFD", KVM_IOEVENTFD, &request));
  return Done{};
}

Status Vm::addInterrupt(uint32_t gsi, int eventFd) const {
  kvm_irqfd request = {};
  request.fd = static_cast<uint32_t>(eventFd);
  request.gsi = gsi;
  TRY(control(fd_.get(), "KVM_IRQFD", KVM_IRQFD, &request));
  return Done{};
}

}  // namespace bulkhead::vm
