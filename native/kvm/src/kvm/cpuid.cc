#include "kvm/cpuid.h"

#include <cpuid.h>

#include <algorithm>
#include <cstring>
#include <iterator>

namespace bulkhead::vm {
namespace {

/** Bits to clear in one leaf; `index` is compared only where the leaf has sub-leaves. */
struct Mask {
  uint32_t function;
  uint32_t index;
  uint32_t eax, ebx, ecx, edx;
};

constexpr uint32_t bit(unsigned number) {
  return uint32_t{1} << number;
}

// Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E.
constexpr uint32_t kVmx = bit(5);
constexpr uint32_t kSvm = bit(2);
constexpr Mask kTemplate[] = {
    // monitor, VMX, speed step, perfmon capabilities, direct cache access; thermal and debug features
    {1, 0, 0, 0, bit(3) | kVmx | bit(7) | bit(8) | bit(15) | bit(18), bit(21) | bit(22) | bit(29)},
    // turbo, energy bias
    {6, 0, bit(1), 0, bit(3), 0},
    // SGX, HLE, RTM, MPX; waitpkg, SGX launch control; AMX
    {7, 0, 0, bit(2) | bit(4) | bit(11) | bit(14), bit(5) | bit(30), bit(22) | bit(24) | bit(25)},
    {0xa, 0, ~0u, ~0u, ~0u, ~0u},
    {0xd, 0, bit(3) | bit(4) | bit(17) | bit(18), 0, 0, 0},
    // SVM, instruction-based sampling, watchdog, performance counters, translation counters
    {0x80000001, 0, 0, 0, kSvm | bit(10) | bit(13) | bit(23) | bit(24) | bit(28), 0},
    {0x8000000a, 0, ~0u, ~0u, ~0u, ~0u},
};

constexpr Mask kInterpreted[] = {
    // FMA, cmpxchg16b, xsave, osxsave, AVX, F16C
    {1, 0, 0, 0, bit(12) | bit(13) | bit(26) | bit(27) | bit(28) | bit(29), 0},
    // AVX2, AVX-512, PKU
    {7, 0, 0, bit(5) | bit(16) | bit(17) | bit(21) | bit(28) | bit(30) | bit(31), bit(1) | bit(3) | bit(4), 0},
    {0xd, 0, ~0u, ~0u, ~0u, ~0u},
    {0xd, 1, ~0u, ~0u, ~0u, ~0u},
};

template <size_t kCount>
void apply(const Mask (&masks)[kCount], kvm_cpuid_entry2* entry) {
  for (const Mask& mask : masks) {
    if (mask.function != entry->function) continue;
    const bool indexed = (entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0;
    if (indexed && mask.index != entry->index) continue;
    entry->eax &= ~mask.eax;
    entry->ebx &= ~mask.ebx;
    entry->ecx &= ~mask.ecx;
    entry->edx &= ~mask.edx;
  }
}

/** Bits that an APIC id of these processors needs. */
uint32_t idBits(uint32_t cpus) {
  uint32_t bits = 0;
  while ((uint32_t{1} << bits) < cpus) ++bits;
  return bits;
}

/** One thread per core, all cores in one package: a level of one thread, then one of all. */
void setExtendedTopology(kvm_cpuid_entry2* entry, uint32_t cpus, uint32_t index) {
  constexpr uint32_t kThreads = 1 << 8;
  constexpr uint32_t kCores = 2 << 8;
  const bool threads = entry->index == 0;
  const bool cores = entry->index == 1;
  entry->eax = cores ? idBits(cpus) : 0;
  entry->ebx = threads ? 1 : cores ? cpus : 0;
  entry->ecx = entry->index | (threads ? kThreads : cores ? kCores : 0);
  entry->edx = index;
}

/**
 * A KVM of today says that it knows no topology, by a first level with no second: a guest would take each of its
 * processors for a package.
 */
void addLevelOfCores(std::vector<kvm_cpuid_entry2>* entries, uint32_t function) {
  const auto levelOf = [&](uint32_t index) {
    return std::find_if(entries->begin(), entries->end(), [&](const kvm_cpuid_entry2& entry) {
      return entry.function == function && entry.index == index;
    });
  };
  const auto threads = levelOf(0);
  if (threads == entries->end() || levelOf(1) != entries->end()) return;
  threads->flags |= KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
  kvm_cpuid_entry2 cores = *threads;
  cores.index = 1;
  entries->insert(threads + 1, cores);
}

void setTopology(kvm_cpuid_entry2* entry, uint32_t cpus, uint32_t index) {
  constexpr uint32_t kLineSizeIn8Bytes = 8;
  switch (entry->function) {
    case 1:
      entry->ebx = (entry->ebx & 0xff) | kLineSizeIn8Bytes << 8 | (cpus & 0xff) << 16 | index << 24;
      entry->ecx |= bit(31);  // a hypervisor is there
      entry->edx = cpus > 1 ? entry->edx | bit(28) : entry->edx & ~bit(28);
      break;
    case 4:           // Intel's caches: the last level is everybody's, the others each core's own
    case 0x8000001d:  // AMD's, in the same layout
    {
      const bool shared = (entry->eax >> 5 & 7) == 3;
      const uint32_t cores = entry->function == 4 ? (uint32_t{1} << idBits(cpus)) - 1 : 0;
      entry->eax = (entry->eax & 0x3fff) | (shared ? (cpus - 1) << 14 : 0) | cores << 26;
      break;
    }
    case 0xb:
    case 0x1f:
      setExtendedTopology(entry, cpus, index);
      break;
    case 0x80000008:
      entry->ecx = (entry->ecx & ~0xf0ffu) | idBits(cpus) << 12 | ((cpus - 1) & 0xff);
      break;
    case 0x8000001e:
      entry->eax = index;
      entry->ebx = index & 0xff;
      entry->ecx = 0;
      break;
    default:
      break;
  }
}

/** Intel's descriptors, and caches in the layout of each maker. */
bool describesCaches(const kvm_cpuid_entry2& entry) {
  constexpr uint32_t kLeaves[] = {2, 4, 0x80000005, 0x80000006, 0x8000001d};
  return std::find(std::begin(kLeaves), std::end(kLeaves), entry.function) != std::end(kLeaves);
}

std::vector<kvm_cpuid_entry2> withoutCaches(const std::vector<kvm_cpuid_entry2>& entries) {
  std::vector<kvm_cpuid_entry2> rest;
  std::remove_copy_if(entries.begin(), entries.end(), std::back_inserter(rest), describesCaches);
  return rest;
}

}  // namespace

std::vector<kvm_cpuid_entry2> guestCpuid(const std::vector<kvm_cpuid_entry2>& supported, const CpuidTemplate& chosen,
                                         uint32_t index) {
  std::vector<kvm_cpuid_entry2> entries = supported;
  for (const uint32_t function : {0xbu, 0x1fu}) addLevelOfCores(&entries, function);
  for (kvm_cpuid_entry2& entry : entries) {
    apply(kTemplate, &entry);
    if (chosen.interpreted) apply(kInterpreted, &entry);
    setTopology(&entry, chosen.cpus, index);
    // KVM's own local APIC has the timer, but older KVMs do not list it.
    if (entry.function == 1) entry.ecx |= bit(24);
  }
  return entries;
}

std::vector<kvm_cpuid_entry2> withCachesOf(const std::vector<kvm_cpuid_entry2>& supported,
                                           const std::vector<kvm_cpuid_entry2>& shown) {
  std::vector<kvm_cpuid_entry2> entries = withoutCaches(supported);
  std::copy_if(shown.begin(), shown.end(), std::back_inserter(entries), describesCaches);
  return entries;
}

bool isSameButForCaches(const std::vector<kvm_cpuid_entry2>& one, const std::vector<kvm_cpuid_entry2>& other) {
  const auto left = withoutCaches(one);
  const auto right = withoutCaches(other);
  return left.size() == right.size() && memcmp(left.data(), right.data(), left.size() * sizeof(kvm_cpuid_entry2)) == 0;
}

bool hostHasVirtualization() {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kVmx) != 0) return true;
  return __get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kSvm) != 0;
}

}  // namespace bulkhead::vm
