// One virtual machine inside KVM: memory slots, interrupt controllers, doorbells.
#pragma once

#include "kvm/system.h"
#include "kvm/vcpu.h"
#include "memory/guest_memory.h"

namespace bulkhead::vm {

/** A write of `sizeBytes` bytes of value `value` at `address` that KVM turns into a count on an eventfd, without an
 * exit. */
struct Doorbell {
  uint64_t address;
  uint32_t sizeBytes;
  uint64_t value;
};

class Vm {
 public:
  /** A machine with this RAM and KVM's interrupt controllers (two PICs, an IOAPIC, one local APIC per vCPU). */
  static Result<Vm> create(const KvmSystem& system, const GuestMemory& memory);

  Result<Vcpu> createVcpu(const KvmSystem& system, uint32_t index) const;
  Status addDoorbell(const Doorbell& doorbell, int eventFd) const;
  /** A write to the eventfd raises the interrupt, as one edge. */
  Status addInterrupt(uint32_t gsi, int eventFd) const;

  int get() const { return fd_.get(); }

 private:
  explicit Vm(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
};

}  // namespace bulkhead::vm
