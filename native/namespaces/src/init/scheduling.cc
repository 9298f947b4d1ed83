#include "init/scheduling.h"

#include <linux/sched/types.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "plan/io_priority.h"

namespace bulkhead::init {
namespace {

/** Of a mask of 8,192 CPUs, Linux's most (NR_CPUS); the kernel cuts a longer mask than its own. */
constexpr size_t kAllWords = 128;

/** A mask in which one CPU is unlike the others. EINVAL says that the cpuset has none of it, and changes nothing. */
void setOne(int cpu, int others, uint64_t one) {
  uint64_t mask[kAllWords];
  memset(mask, others, sizeof mask);
  const size_t word = static_cast<size_t>(cpu) / 64;
  if (cpu < 0 || word >= kAllWords) return;
  const uint64_t bit = uint64_t{1} << (cpu % 64);
  mask[word] = (mask[word] & ~bit) | (one * bit);
  (void)syscall(SYS_sched_setaffinity, 0, sizeof mask, mask);
}

/** Whether somebody has kept this process on one CPU. */
bool isOnOne() {
  uint64_t mask[kAllWords];
  const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
  int cpus = 0;
  for (long word = 0; word < bytes / static_cast<long>(sizeof *mask); ++word) cpus += __builtin_popcountll(mask[word]);
  return cpus <= 1;
}

}  // namespace

Status applyPriorities(const plan::Scheduling& scheduling, pid_t pid) {
  if ((scheduling.flags & plan::kIoPriority) != 0 &&
      syscall(SYS_ioprio_set, plan::kIoPriorityOfProcess, pid, scheduling.ioPriority) < 0) {
    return failure("ioprio_set", errno);
  }
  if ((scheduling.flags & plan::kScheduler) == 0) return Done{};
  struct sched_attr attributes = {};
  attributes.size = sizeof attributes;
  attributes.sched_policy = scheduling.policy;
  attributes.sched_flags = scheduling.policyFlags;
  attributes.sched_nice = scheduling.nice;
  attributes.sched_priority = scheduling.priority;
  attributes.sched_runtime = scheduling.runtimeNs;
  attributes.sched_deadline = scheduling.deadlineNs;
  attributes.sched_period = scheduling.periodNs;
  if (syscall(SYS_sched_setattr, pid, &attributes, 0) < 0) return failure("sched_setattr", errno);
  return Done{};
}

Status applyExecution(const plan::Scheduling& scheduling) {
  if ((scheduling.flags & plan::kPersonality) != 0 && personality(scheduling.personality) < 0) {
    return failure("personality", errno);
  }
  if ((scheduling.flags & plan::kMemoryPolicy) == 0) return Done{};
  // The kernel takes one bit less than it is told.
  const unsigned long bits = scheduling.memoryNodes.empty() ? 0 : scheduling.memoryNodes.count * 64ul + 1;
  if (syscall(SYS_set_mempolicy, scheduling.memoryMode, scheduling.memoryNodes.data, bits) < 0) {
    return failure("set_mempolicy", errno);
  }
  return Done{};
}

Status setAffinity(const Span<uint64_t>& cpus) {
  uint64_t all[kAllWords];
  const uint64_t* mask = cpus.data;
  size_t words = cpus.count;
  if (cpus.empty()) {
    memset(all, 0xff, sizeof all);
    mask = all;
    words = kAllWords;
  }
  if (syscall(SYS_sched_setaffinity, 0, words * sizeof(uint64_t), mask) == 0) return Done{};
  const int err = errno;
  // Where nobody may choose, nobody was kept from any, and nothing is lost.
  if (cpus.empty() && !isOnOne()) return Done{};
  return failure("sched_setaffinity", err);
}

void stayOnCpu(int cpu) {
  setOne(cpu, 0, 1);
}

void leaveCpu(int cpu) {
  setOne(cpu, 0xff, 0);
}

}  // namespace bulkhead::init
