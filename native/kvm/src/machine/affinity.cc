#include "machine/affinity.h"

#include <sched.h>

#include <cerrno>
#include <memory>

namespace bulkhead::vm {
namespace {

struct FreeSet {
  void operator()(cpu_set_t* set) const { CPU_FREE(set); }
};

constexpr size_t kBytes = CPU_ALLOC_SIZE(kMaxHostCpus);

std::unique_ptr<cpu_set_t, FreeSet> emptySet() {
  std::unique_ptr<cpu_set_t, FreeSet> set(CPU_ALLOC(kMaxHostCpus));
  if (set != nullptr) CPU_ZERO_S(kBytes, set.get());
  return set;
}

}  // namespace

Status runOn(pthread_t thread, const std::vector<uint32_t>& cpus) {
  const auto wanted = emptySet();
  const auto actual = emptySet();
  if (wanted == nullptr || actual == nullptr) return failure("affinity", ENOMEM);
  for (const uint32_t cpu : cpus) CPU_SET_S(cpu, kBytes, wanted.get());
  const int set = pthread_setaffinity_np(thread, kBytes, wanted.get());
  if (set != 0) return failure("affinity", set);
  const int read = pthread_getaffinity_np(thread, kBytes, actual.get());
  if (read != 0) return failure("affinity", read);
  if (!CPU_EQUAL_S(kBytes, wanted.get(), actual.get())) {
    return failure("affinity", EINVAL, "not all of these processors can be had");
  }
  return Done{};
}

}  // namespace bulkhead::vm
