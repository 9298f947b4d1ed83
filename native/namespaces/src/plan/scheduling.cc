// How the kernel runs the process: scheduler, I/O priority, personality, memory
// policy, clocks.
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <sys/personality.h>

#include <algorithm>
#include <iterator>

#include "plan/compile.h"
#include "plan/io_priority.h"
#include "plan/names.h"

namespace bulkhead::plan {
namespace {

struct Named {
  std::string_view name;
  uint32_t value;
};
// SCHED_ISO (4) is reserved and no kernel has it.
constexpr Named kPolicies[] = {{"SCHED_OTHER", 0}, {"SCHED_FIFO", 1}, {"SCHED_RR", 2},
                               {"SCHED_BATCH", 3}, {"SCHED_IDLE", 5}, {"SCHED_DEADLINE", 6}};
// include/uapi/linux/sched.h
constexpr Named kPolicyFlags[] = {{"SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK},
                                  {"SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM},
                                  {"SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN},
                                  {"SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY},
                                  {"SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS}};
constexpr Named kIoClasses[] = {
    {"IOPRIO_CLASS_RT", kIoRealTime}, {"IOPRIO_CLASS_BE", kIoBestEffort}, {"IOPRIO_CLASS_IDLE", kIoIdle}};
// include/uapi/linux/mempolicy.h; MPOL_PREFERRED_MANY is Linux 5.15,
// MPOL_WEIGHTED_INTERLEAVE 6.9
constexpr Named kMemoryModes[] = {{"MPOL_DEFAULT", MPOL_DEFAULT}, {"MPOL_PREFERRED", MPOL_PREFERRED},
                                  {"MPOL_BIND", MPOL_BIND},       {"MPOL_INTERLEAVE", MPOL_INTERLEAVE},
                                  {"MPOL_LOCAL", MPOL_LOCAL},     {"MPOL_PREFERRED_MANY", 5},
                                  {"MPOL_WEIGHTED_INTERLEAVE", 6}};
constexpr Named kMemoryFlags[] = {
    {"MPOL_F_NUMA_BALANCING", 1u << 13}, {"MPOL_F_RELATIVE_NODES", 1u << 14}, {"MPOL_F_STATIC_NODES", 1u << 15}};

template <class Table>
const Named* lookup(const Table& table, const View& view) {
  const std::string_view name = view.isString() ? view.text() : std::string_view();
  const auto* at = std::find_if(std::begin(table), std::end(table), [&](const Named& row) { return row.name == name; });
  return at == std::end(table) ? nullptr : at;
}

template <class Table, class Value>
bool collect(Context* context, const View& list, const Table& table, Value* value) {
  if (!context->array(list)) return false;
  for (uint32_t index = 0; index < list.count(); ++index) {
    const View element = list.element(index);
    const Named* known = lookup(table, element);
    if (known == nullptr) return context->fail(element, "is no known flag");
    *value |= known->value;
  }
  return true;
}

bool compileScheduler(Context* context, const View& scheduler, Scheduling* target) {
  if (!scheduler.present()) return true;
  if (!scheduler.isObject()) return context->fail(scheduler, "must be an object");
  const View policy = scheduler.member("policy");
  const Named* known = lookup(kPolicies, policy);
  if (known == nullptr) return context->fail(policy, "is no scheduling policy");
  const View niceView = scheduler.member("nice");
  const View priorityView = scheduler.member("priority");
  int64_t nice = 0;
  int64_t priority = 0;
  if (!context->integer(niceView, -20, 19, &nice) || !context->integer(priorityView, 0, 99, &priority) ||
      !collect(context, scheduler.member("flags"), kPolicyFlags, &target->policyFlags) ||
      !context->unsigned64(scheduler.member("runtime"), &target->runtimeNs) ||
      !context->unsigned64(scheduler.member("deadline"), &target->deadlineNs) ||
      !context->unsigned64(scheduler.member("period"), &target->periodNs)) {
    return false;
  }
  const bool realtime = known->value == 1 || known->value == 2;
  const bool deadline = known->value == 6;
  if (realtime != (priority > 0)) {
    return context->fail(priorityView, realtime ? "must be from 1 to 99 for this policy" : "must be 0 for this policy");
  }
  if (!deadline && (target->runtimeNs | target->deadlineNs | target->periodNs) != 0) {
    return context->fail(policy, "takes no runtime, deadline or period");
  }
  if (deadline && !(target->runtimeNs > 0 && target->runtimeNs <= target->deadlineNs &&
                    (target->periodNs == 0 || target->deadlineNs <= target->periodNs))) {
    return context->fail(scheduler, "must have runtime <= deadline <= period");
  }
  target->policy = known->value;
  target->nice = static_cast<int32_t>(nice);
  target->priority = static_cast<uint32_t>(priority);
  target->flags |= kScheduler;
  return true;
}

bool compileIoPriority(Context* context, const View& priority, Scheduling* target) {
  if (!priority.present()) return true;
  const View type = priority.member("class");
  const View levelView = priority.member("priority");
  const Named* known = lookup(kIoClasses, type);
  if (known == nullptr) return context->fail(type, "is no class of I/O priority");
  int64_t level = 0;
  if (!context->integer(levelView, 0, 7, &level)) return false;
  target->ioPriority = ioPriority(known->value, static_cast<uint32_t>(level));
  target->flags |= kIoPriority;
  return true;
}

bool compilePersonality(Context* context, const View& personality, Scheduling* target) {
  if (!personality.present()) return true;
  const View domain = personality.member("domain");
  const View flags = personality.member("flags");
  const std::string_view name = domain.isString() ? domain.text() : "";
  if (name != "LINUX" && name != "LINUX32") return context->fail(domain, "must be LINUX or LINUX32");
  if (!context->array(flags)) return false;
  // The specification names none so far.
  if (flags.count() > 0) return context->fail(flags, "has flags, of which none is known");
  target->personality = name == "LINUX32" ? PER_LINUX32 : PER_LINUX;
  target->flags |= kPersonality;
  return true;
}

bool compileMemoryPolicy(Context* context, const View& policy, Scheduling* target) {
  if (!policy.present()) return true;
  const View mode = policy.member("mode");
  const View nodes = policy.member("nodes");
  const Named* known = lookup(kMemoryModes, mode);
  if (known == nullptr) return context->fail(mode, "is no memory policy");
  target->memoryMode = known->value;
  if (!collect(context, policy.member("flags"), kMemoryFlags, &target->memoryMode) ||
      !compileAffinity(context, nodes, &target->memoryNodes)) {
    return false;
  }
  const bool wantsNone = known->value == MPOL_DEFAULT || known->value == MPOL_LOCAL;
  const bool mayLackNodes = wantsNone || known->value == MPOL_PREFERRED;
  if (wantsNone && !target->memoryNodes.empty()) return context->fail(nodes, "must be empty for this mode");
  if (!mayLackNodes && target->memoryNodes.empty()) return context->fail(nodes, "is required by this mode");
  target->flags |= kMemoryPolicy;
  return true;
}

}  // namespace

std::vector<std::string_view> memoryModeNames() {
  std::vector<std::string_view> names;
  for (const Named& mode : kMemoryModes) names.push_back(mode.name);
  return names;
}

std::vector<std::string_view> memoryFlagNames() {
  std::vector<std::string_view> names;
  for (const Named& flag : kMemoryFlags) names.push_back(flag.name);
  return names;
}

bool compileScheduling(Context* context, const View& process, Process* target) {
  const View affinity = process.member("execCPUAffinity");
  return compileScheduler(context, process.member("scheduler"), &target->scheduling) &&
         compileIoPriority(context, process.member("ioPriority"), &target->scheduling) && context->object(affinity);
}

bool compileExecution(Context* context, const View& linuxPart, Process* target) {
  return compilePersonality(context, linuxPart.member("personality"), &target->scheduling) &&
         compileMemoryPolicy(context, linuxPart.member("memoryPolicy"), &target->scheduling);
}

bool compileTimeOffsets(Context* context, const View& linuxPart, Container* target) {
  const View offsets = linuxPart.member("timeOffsets");
  if (!context->object(offsets)) return false;
  std::vector<TimeOffset> list;
  const Members members(offsets);
  for (uint32_t index = 0; index < members.count(); ++index) {
    const View entry = members.view(index);
    const std::string_view clock = members.name(index);
    if (clock != "monotonic" && clock != "boottime") return context->fail(entry, "is no clock of a time namespace");
    TimeOffset offset;
    offset.clock = context->keep(clock);
    // kernel/time/namespace.c: an offset may not move a clock by more than half
    // of what ktime_t holds
    constexpr int64_t kMaxSeconds = 4'611'686'018;
    int64_t nanoseconds = 0;
    if (!context->integer(entry.member("secs"), -kMaxSeconds, kMaxSeconds, &offset.seconds) ||
        !context->integer(entry.member("nanosecs"), 0, 999'999'999, &nanoseconds)) {
      return false;
    }
    offset.nanoseconds = static_cast<uint32_t>(nanoseconds);
    list.push_back(offset);
  }
  if (!list.empty() && (target->namespaces & CLONE_NEWTIME) == 0) {
    return context->fail(offsets, "needs its own time namespace");
  }
  return context->store(offsets, list, &target->timeOffsets);
}

}  // namespace bulkhead::plan
