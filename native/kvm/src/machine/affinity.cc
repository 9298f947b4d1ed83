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

/** `set` and `read` answer 0 or an error number. */
template <typename Set, typename Read>
Status keepOn(const std::vector<uint32_t>& cpus, Set set, Read read) {
  const auto wanted = emptySet();
  const auto actual = emptySet();
  if (wanted == nullptr || actual == nullptr) return failure("affinity", ENOMEM);
  for (const uint32_t cpu : cpus) CPU_SET_S(cpu, kBytes, wanted.get());
  const int notSet = set(wanted.get());
  if (notSet != 0) return failure("affinity", notSet);
  const int notRead = read(actual.get());
  if (notRead != 0) return failure("affinity", notRead);
  if (!CPU_EQUAL_S(kBytes, wanted.get(), actual.get())) {
    return failure("affinity", EINVAL, "not all of these processors can be had");
  }
  return Done{};
}

}  // namespace

Status runOn(pthread_t thread, const std::vector<uint32_t>& cpus) {
  return keepOn(
      cpus, [&](const cpu_set_t* set) { return pthread_setaffinity_np(thread, kBytes, set); },
      [&](cpu_set_t* set) { return pthread_getaffinity_np(thread, kBytes, set); });
}

Status runOn(ThreadId thread, const std::vector<uint32_t>& cpus) {
  return keepOn(
      cpus, [&](const cpu_set_t* set) { return sched_setaffinity(thread.tid, kBytes, set) == 0 ? 0 : errno; },
      [&](cpu_set_t* set) { return sched_getaffinity(thread.tid, kBytes, set) == 0 ? 0 : errno; });
}

}  // namespace bulkhead::vm
