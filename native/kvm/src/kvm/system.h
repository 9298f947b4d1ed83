// /dev/kvm: what this host's KVM is and can do.
#pragma once

#include <linux/kvm.h>

#include <vector>

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::vm {

/** One ioctl(2); EINTR is the caller's to judge, because KVM_RUN means something by it. */
Result<int> control(int fd, const char* name, unsigned long request, unsigned long argument = 0);
template <class T>
Result<int> control(int fd, const char* name, unsigned long request, T* argument) {
  return control(fd, name, request, reinterpret_cast<unsigned long>(argument));
}

/** Answers of KVM that hold for every machine on this host. */
class KvmSystem {
 public:
  /**
   * Takes /dev/kvm, open for reading and writing.
   * @returns ENOTSUP with the name of the first thing this KVM lacks: its API version or a capability
   */
  static Result<KvmSystem> use(Fd device);

  int get() const { return device_.get(); }
  /** Size of the area that a vCPU shares with this process. */
  size_t vcpuBytes() const { return vcpuBytes_; }
  bool has(int capability) const { return value(capability) > 0; }
  /** What KVM_CHECK_EXTENSION answers; 0 is that it has none. */
  int value(int capability) const;
  /** The processor that KVM can show a guest. */
  Result<std::vector<kvm_cpuid_entry2>> supportedCpuid() const;

 private:
  KvmSystem(Fd device, size_t vcpuBytes) : device_(std::move(device)), vcpuBytes_(vcpuBytes) {}

  Fd device_;
  size_t vcpuBytes_;
};

}  // namespace bulkhead::vm
