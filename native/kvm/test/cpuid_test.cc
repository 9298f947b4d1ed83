// The processor that guests see.
#include "kvm/cpuid.h"

#include "runner.h"

namespace bulkhead::vm {
namespace {

kvm_cpuid_entry2 leaf(uint32_t function, uint32_t index = 0) {
  kvm_cpuid_entry2 entry = {};
  entry.function = function;
  entry.index = index;
  entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
  entry.eax = entry.ebx = entry.ecx = entry.edx = ~0u;
  return entry;
}

}  // namespace

TEST(cpuid_hides_virtualization_and_tells_topology) {
  const auto seen = guestCpuid({leaf(1), leaf(0xb, 0), leaf(0xb, 1), leaf(0x80000001)}, {.cpus = 3}, 2);
  EXPECT((seen[0].ecx & 1 << 5) == 0);
  EXPECT((seen[0].ecx & 1u << 31) != 0);
  EXPECT(seen[0].ebx >> 24 == 2 && (seen[0].ebx >> 16 & 0xff) == 3);
  EXPECT(seen[1].eax == 0 && seen[1].ebx == 1 && seen[1].edx == 2);
  EXPECT(seen[2].eax == 2 && seen[2].ebx == 3);
  EXPECT((seen[3].ecx & 1 << 2) == 0);
}

TEST(cpuid_hides_from_guests_what_an_interpreter_lacks) {
  const auto seen = guestCpuid({leaf(1), leaf(0xd, 0)}, {.cpus = 1, .interpreted = true}, 0);
  EXPECT((seen[0].ecx & (1 << 13 | 1 << 26 | 1 << 27)) == 0);
  EXPECT((seen[0].edx & 1 << 28) == 0);
  EXPECT(seen[1].eax == 0);
}

}  // namespace bulkhead::vm
