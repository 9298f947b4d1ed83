#include <linux/seccomp.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "seccomp/compile.h"

namespace bulkhead::seccomp {
namespace {

using plan::Context;
using plan::View;

struct ActionName {
  std::string_view name;
  uint32_t action;
  bool carriesErrno;
};
constexpr ActionName kActions[] = {
    {"SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW, false},
    {"SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO, true},
    {"SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD, false},
    {"SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD, false},
    {"SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS, false},
    {"SCMP_ACT_TRAP", SECCOMP_RET_TRAP, false},
    {"SCMP_ACT_TRACE", SECCOMP_RET_TRACE, true},
    {"SCMP_ACT_LOG", SECCOMP_RET_LOG, false},
    {"SCMP_ACT_NOTIFY", SECCOMP_RET_USER_NOTIF, false},
};

struct CompareName {
  std::string_view name;
  Compare compare;
};
constexpr CompareName kCompares[] = {
    {"SCMP_CMP_NE", Compare::notEqual},           {"SCMP_CMP_LT", Compare::less},
    {"SCMP_CMP_LE", Compare::lessOrEqual},        {"SCMP_CMP_EQ", Compare::equal},
    {"SCMP_CMP_GE", Compare::greaterOrEqual},     {"SCMP_CMP_GT", Compare::greater},
    {"SCMP_CMP_MASKED_EQ", Compare::maskedEqual},
};

// include/uapi/linux/seccomp.h, Linux 5.19
constexpr uint32_t kWaitKillable = 1u << 5;

struct FlagName {
  std::string_view name;
  uint32_t flag;
};
constexpr FlagName kFlags[] = {
    {"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
    {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
    {"SECCOMP_FILTER_FLAG_TSYNC", 0},  // one thread exists when the filter is installed
    {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", kWaitKillable},
};

template <class Table>
std::vector<std::string_view> namesOf(const Table& table) {
  std::vector<std::string_view> names;
  for (const auto& row : table) names.push_back(row.name);
  return names;
}

template <class Table>
const auto* lookup(const Table& table, const View& view) {
  const std::string_view name = view.isString() ? view.text() : std::string_view();
  const auto* at = std::find_if(std::begin(table), std::end(table), [&](const auto& row) { return row.name == name; });
  return at == std::end(table) ? nullptr : at;
}

bool readAction(Context* context, const View& name, const View& errnoView, uint32_t defaultErrno, uint32_t* action) {
  const ActionName* known = lookup(kActions, name);
  if (known == nullptr) return context->fail(name, "is no supported action");
  *action = known->action;
  int64_t number = defaultErrno;
  if (!context->integer(errnoView, 0, 4095, &number)) return false;
  if (known->carriesErrno) *action |= static_cast<uint32_t>(number);
  return true;
}

bool readConditions(Context* context, const View& list, std::vector<Condition>* conditions) {
  if (!context->array(list)) return false;
  for (uint32_t index = 0; index < list.count(); ++index) {
    const View entry = list.element(index);
    Condition condition;
    const View argument = entry.member("index");
    if (!context->unsigned32(argument, &condition.argument)) return false;
    if (condition.argument > 5) return context->fail(argument, "must be from 0 to 5");
    const View op = entry.member("op");
    const CompareName* compare = lookup(kCompares, op);
    if (compare == nullptr) return context->fail(op, "is no comparison");
    condition.compare = compare->compare;
    if (!context->unsigned64(entry.member("value"), &condition.value) ||
        !context->unsigned64(entry.member("valueTwo"), &condition.valueTwo)) {
      return false;
    }
    conditions->push_back(condition);
  }
  return true;
}

/** One argument compared twice cannot be one libseccomp rule; other runtimes
 * then take any match, so do we. */
std::vector<std::vector<Condition>> alternatives(const std::vector<Condition>& conditions) {
  uint32_t seen = 0;
  bool repeated = false;
  for (const Condition& condition : conditions) {
    repeated = repeated || (seen & (1u << condition.argument)) != 0;
    seen |= 1u << condition.argument;
  }
  if (!repeated) return {conditions};
  std::vector<std::vector<Condition>> split;
  for (const Condition& condition : conditions) split.push_back({condition});
  return split;
}

bool readArchs(Context* context, const View& list, Profile* profile, std::vector<std::string>* warnings) {
  if (!context->array(list)) return false;
  profile->archs.push_back({Arch::x86_64, {}});
  for (uint32_t index = 0; index < list.count(); ++index) {
    const View element = list.element(index);
    const std::string_view name = element.isString() ? element.text() : "";
    if (name == "SCMP_ARCH_X86" && profile->archs.size() == 1) profile->archs.push_back({Arch::i386, {}});
    if (!name.starts_with("SCMP_ARCH_")) return context->fail(element, "is no architecture");
    if (name != "SCMP_ARCH_X86" && name != "SCMP_ARCH_X86_64" && name != "SCMP_ARCH_X32") {
      warnings->push_back(element.pointer() + ": architecture does not exist here");
    }
  }
  return true;
}

bool readRule(Context* context, const View& entry, uint32_t defaultErrno, Profile* profile,
              std::vector<std::string>* warnings) {
  uint32_t action = 0;
  std::vector<Condition> conditions;
  if (!readAction(context, entry.member("action"), entry.member("errnoRet"), defaultErrno, &action) ||
      !readConditions(context, entry.member("args"), &conditions)) {
    return false;
  }
  const View names = entry.member("names");
  if (!names.isArray()) return context->fail(names, "must be an array");
  for (uint32_t index = 0; index < names.count(); ++index) {
    const View element = names.element(index);
    if (!element.isString()) return context->fail(element, "must be a string");
    bool known = false;
    for (ArchRules& arch : profile->archs) {
      const int number = syscallNumber(arch.arch, element.text());
      if (number >= 0) {
        known = true;
        for (const auto& alternative : alternatives(conditions)) {
          arch.rules.push_back({static_cast<uint32_t>(number), action, alternative});
        }
      }
      const Multiplexed way = multiplexed(arch.arch, element.text());
      if (way.number < 0) continue;
      known = true;
      // The arguments lie in memory there, where no filter can look.
      if (conditions.empty()) {
        arch.rules.push_back({static_cast<uint32_t>(way.number), action, {{0, Compare::equal, way.call, 0}}});
      }
    }
    // A name that only 32-bit x86 has is as well known as any other.
    if (!known && syscallNumber(Arch::i386, element.text()) < 0 && warnings->size() < 20) {
      warnings->push_back(element.pointer() + ": unknown system call is ignored");
    }
  }
  return true;
}

/** What the rules of one system call are, seen together. */
bool checkTogether(Context* context, const View& rules, const Profile& profile, std::vector<std::string>* warnings) {
  // Deciding between them takes time in the square of their number.
  constexpr uint32_t kMaxRules = 256;
  for (const ArchRules& arch : profile.archs) {
    struct Seen {
      uint32_t rules = 0;
      bool conditional = false;
      bool unconditional = false;
    };
    std::vector<Seen> seen(highestNumber(arch) + 1);
    bool idle = false;
    for (const Rule& rule : arch.rules) {
      Seen& call = seen[rule.number];
      if (++call.rules > kMaxRules) return context->fail(rules, "has more than 256 rules for one system call");
      if (rule.action == profile.defaultAction) continue;
      (rule.conditions.empty() ? call.unconditional : call.conditional) = true;
      idle = idle || (call.conditional && call.unconditional);
    }
    if (idle && arch.arch == Arch::x86_64) {
      warnings->push_back(rules.pointer() + ": rules with conditions have no effect beside one without");
    }
  }
  return true;
}

bool readListener(Context* context, const View& view, Profile* profile) {
  const View path = view.member("listenerPath");
  const View metadata = view.member("listenerMetadata");
  const auto notifies = [](uint32_t action) { return (action & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF; };
  for (const ArchRules& arch : profile->archs) {
    for (const Rule& rule : arch.rules) profile->notifies = profile->notifies || notifies(rule.action);
  }
  profile->notifies = profile->notifies || notifies(profile->defaultAction);
  if (profile->notifies && !path.present()) return context->fail(path, "is required by SCMP_ACT_NOTIFY");
  if (metadata.present() && !path.present()) return context->fail(metadata, "needs a listenerPath");
  if ((profile->flags & kWaitKillable) != 0 && !profile->notifies) {
    return context->fail(view.member("flags"), "has SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV without SCMP_ACT_NOTIFY");
  }
  return true;
}

}  // namespace

std::vector<std::string_view> actionNames() {
  return namesOf(kActions);
}

std::vector<std::string_view> compareNames() {
  return namesOf(kCompares);
}

std::vector<std::string_view> flagNames() {
  return namesOf(kFlags);
}

bool readProfile(Context* context, const View& view, Profile* profile, std::vector<std::string>* warnings) {
  if (!context->object(view)) return false;
  int64_t defaultErrno = EPERM;
  const View defaultErrnoView = view.member("defaultErrnoRet");
  if (!context->integer(defaultErrnoView, 0, 4095, &defaultErrno) ||
      !readAction(context, view.member("defaultAction"), defaultErrnoView, EPERM, &profile->defaultAction) ||
      !readArchs(context, view.member("architectures"), profile, warnings)) {
    return false;
  }
  const View flags = view.member("flags");
  if (!context->array(flags)) return false;
  // Speculative-store mitigation costs every process in the container; other
  // runtimes leave it off by default.
  profile->flags = flags.present() ? 0 : static_cast<uint32_t>(SECCOMP_FILTER_FLAG_SPEC_ALLOW);
  for (uint32_t index = 0; index < flags.count(); ++index) {
    const View element = flags.element(index);
    const FlagName* flag = lookup(kFlags, element);
    if (flag == nullptr) return context->fail(element, "is no supported flag");
    profile->flags |= flag->flag;
  }
  const View rules = view.member("syscalls");
  if (!context->array(rules)) return false;
  for (uint32_t index = 0; index < rules.count(); ++index) {
    const View entry = rules.element(index);
    if (!entry.isObject()) return context->fail(entry, "must be an object");
    // An own errno of a rule defaults to EPERM, not to the profile's default
    // errno (runtime-spec, config-linux).
    if (!readRule(context, entry, EPERM, profile, warnings)) return false;
  }
  if (!checkTogether(context, rules, *profile, warnings)) return false;
  return readListener(context, view, profile);
}

}  // namespace bulkhead::seccomp
