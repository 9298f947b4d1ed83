// A counter that KVM keeps of a vCPU: Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD.
#pragma once

#include <optional>
#include <string_view>

#include "sys/fd.h"

namespace bulkhead::vm {

/** Found once, before the machine runs; read at any time with preadv(2). */
class VcpuStatistic {
 public:
  VcpuStatistic() = default;
  /** One that has no value where the kernel keeps no such counter. */
  static VcpuStatistic find(int vcpu, std::string_view name);

  std::optional<uint64_t> value() const;

 private:
  Fd file_;
  uint64_t offset_ = 0;
};

}  // namespace bulkhead::vm
