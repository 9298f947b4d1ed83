#include "kvm/system.h"

#include <sys/ioctl.h>

#include <cerrno>
#include <memory>

#include "kvm/lists.h"

namespace bulkhead::vm {
namespace {

struct Needed {
  int capability;
  const char* name;
};

/** Without these no machine of ours runs. */
constexpr Needed kNeeded[] = {
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
    {KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
    {KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
};

}  // namespace

Result<int> control(int fd, const char* name, unsigned long request, unsigned long argument) {
  const int answer = ioctl(fd, request, argument);
  if (answer < 0) return failure(name, errno);
  return answer;
}

Result<KvmSystem> KvmSystem::use(Fd device) {
  const int version = TRY(control(device.get(), "KVM_GET_API_VERSION", KVM_GET_API_VERSION));
  if (version != KVM_API_VERSION) return failure("KVM_GET_API_VERSION", ENOTSUP, "KVM API version");
  const int bytes = TRY(control(device.get(), "KVM_GET_VCPU_MMAP_SIZE", KVM_GET_VCPU_MMAP_SIZE));
  if (static_cast<size_t>(bytes) < sizeof(kvm_run)) return failure("KVM_GET_VCPU_MMAP_SIZE", EPROTO);
  KvmSystem system(std::move(device), static_cast<size_t>(bytes));
  for (const Needed& needed : kNeeded) {
    if (!system.has(needed.capability)) return failure("KVM_CHECK_EXTENSION", ENOTSUP, needed.name);
  }
  return system;
}

int KvmSystem::value(int capability) const {
  const int answer = ioctl(device_.get(), KVM_CHECK_EXTENSION, capability);
  return answer < 0 ? 0 : answer;
}

Result<std::vector<kvm_cpuid_entry2>> KvmSystem::supportedCpuid() const {
  const auto list = std::make_unique<CpuidList>();
  list->count = kMaxCpuidEntries;
  TRY(control(device_.get(), "KVM_GET_SUPPORTED_CPUID", kGetSupportedCpuid, list.get()));
  return std::vector<kvm_cpuid_entry2>(list->entries, list->entries + list->count);
}

}  // namespace bulkhead::vm
