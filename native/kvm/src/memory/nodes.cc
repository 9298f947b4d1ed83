#include "memory/nodes.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

constexpr uint32_t kBits = 64;
using Mask = std::array<uint64_t, kMaxNodes / kBits>;

}  // namespace

Status bindToNodes(void* base, uint64_t sizeBytes, const std::vector<uint32_t>& nodes) {
  Mask wanted = {};
  for (const uint32_t node : nodes) {
    if (node >= kMaxNodes) return failure("memory nodes", EINVAL, "a node that no kernel has");
    wanted[node / kBits] |= uint64_t{1} << node % kBits;
  }
  // The kernel leaves the highest bit out of what it is told there is (get_mempolicy(2), Notes on maxnode).
  constexpr unsigned long kCount = kMaxNodes + 1;
  TRY(sys::check(
      "mbind", [&] { return syscall(SYS_mbind, base, sizeBytes, MPOL_BIND, wanted.data(), kCount, MPOL_MF_STRICT); },
      "guest memory"));
  int mode = 0;
  Mask actual = {};
  TRY(sys::check(
      "get_mempolicy", [&] { return syscall(SYS_get_mempolicy, &mode, actual.data(), kMaxNodes, base, MPOL_F_ADDR); },
      "guest memory"));
  if (mode != MPOL_BIND || actual != wanted) {
    return failure("memory nodes", EINVAL, "not all of these nodes can be had");
  }
  return Done{};
}

}  // namespace bulkhead::vm
