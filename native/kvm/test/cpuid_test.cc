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

TEST(cpuid_has_one_package_where_kvm_says_nothing_of_levels) {
  for (const uint32_t function : {0xbu, 0x1fu}) {
    const auto seen = guestCpuid({leaf(1), leaf(function, 0), leaf(0x80000001)}, {.cpus = 3}, 2);
    EXPECT(seen.size() == 4 && seen[1].index == 0 && seen[1].ebx == 1 && seen[3].function == 0x80000001);
    EXPECT(seen[2].function == function && seen[2].index == 1);
    EXPECT((seen[2].flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0);
    EXPECT(seen[2].eax == 2 && seen[2].ebx == 3 && seen[2].ecx == (2 << 8 | 1) && seen[2].edx == 2);
  }
  EXPECT(guestCpuid({leaf(1), leaf(0x80000001)}, {.cpus = 3}, 2).size() == 2);
}

TEST(cpuid_of_two_kinds_of_cores_differs_in_their_caches_alone) {
  auto small = leaf(4, 1);
  small.ecx = 63;
  const std::vector<kvm_cpuid_entry2> large = {leaf(1), leaf(2), leaf(4, 0), leaf(4, 1), leaf(7), leaf(0x80000006)};
  const std::vector<kvm_cpuid_entry2> other = {leaf(1), small, leaf(7)};
  EXPECT(isSameButForCaches(large, other) && !isSameButForCaches(large, {leaf(1), small}));
  auto less = leaf(7);
  less.ebx = 0;
  EXPECT(!isSameButForCaches(large, {leaf(1), small, less}));
  const auto shown = withCachesOf(large, other);
  EXPECT(shown.size() == 3 && isSameButForCaches(shown, large));
  EXPECT(shown[2].function == 4 && shown[2].index == 1 && shown[2].ecx == 63);
}

TEST(cpuid_hides_from_guests_what_an_interpreter_lacks) {
  const auto seen = guestCpuid({leaf(1), leaf(0xd, 0)}, {.cpus = 1, .interpreted = true}, 0);
  EXPECT((seen[0].ecx & (1 << 13 | 1 << 26 | 1 << 27)) == 0);
  EXPECT((seen[0].edx & 1 << 28) == 0);
  EXPECT(seen[1].eax == 0);
}

}  // namespace bulkhead::vm
