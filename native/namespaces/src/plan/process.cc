// The `process` object of the specification.
#include <algorithm>

#include "plan/compile.h"
#include "plan/names.h"

namespace bulkhead::plan {
namespace {

bool compileCapabilities(Context* context, const View& object, Process* target) {
  if (!context->object(object)) return false;
  const auto read = [&](const char* name, uint64_t* set) {
    const View list = object.member(name);
    if (!context->array(list)) return false;
    for (uint32_t index = 0; index < list.count(); ++index) {
      const View element = list.element(index);
      if (!element.isString()) return context->fail(element, "must be a string");
      const int number = capabilityNumber(element.text());
      if (number < 0) {
        context->warn(element, "unknown capability is ignored");
      } else {
        *set |= uint64_t{1} << number;
      }
    }
    return true;
  };
  uint64_t effective = 0;
  uint64_t inheritable = 0;
  uint64_t ambient = 0;
  if (!read("bounding", &target->boundingSet) || !read("permitted", &target->permittedSet) ||
      !read("effective", &effective) || !read("inheritable", &inheritable) || !read("ambient", &ambient)) {
    return false;
  }
  target->permittedSet |= effective;
  if ((target->permittedSet & ~target->boundingSet) != 0) {
    context->warn(object, "capabilities outside the bounding set are dropped");
    target->permittedSet &= target->boundingSet;
  }
  target->ambientSet = ambient & target->permittedSet;
  if (target->ambientSet != ambient)
    context->warn(object, "ambient capabilities outside the permitted set are dropped");
  // A non-empty inheritable set lets file capabilities raise a process (CVE-2022-29162 and its kin).
  if ((inheritable & ~target->ambientSet) != 0) {
    context->warn(object, "inheritable capabilities that are not ambient are left out");
  }
  return true;
}

bool compileUser(Context* context, const View& user, Process* target) {
  if (!context->object(user)) return false;
  if (!context->unsigned32(user.member("uid"), &target->uid) ||
      !context->unsigned32(user.member("gid"), &target->gid)) {
    return false;
  }
  const View groups = user.member("additionalGids");
  if (!context->array(groups)) return false;
  if (groups.count() > 65536) return context->fail(groups, "has more than 65536 groups");
  std::vector<uint32_t> list(groups.count());
  for (uint32_t index = 0; index < groups.count(); ++index) {
    if (!context->unsigned32(groups.element(index), &list[index])) return false;
  }
  const View umask = user.member("umask");
  if (umask.present()) {
    int64_t mask = 0;
    if (!context->integer(umask, 0, 0777, &mask)) return false;
    target->umask = static_cast<uint32_t>(mask);
    target->flags |= kProcessUmask;
  }
  return context->store(groups, list, &target->groups);
}

bool compileLimits(Context* context, const View& limits, Process* target) {
  if (!context->array(limits)) return false;
  std::vector<Limit> list;
  for (uint32_t index = 0; index < limits.count(); ++index) {
    const View entry = limits.element(index);
    if (!entry.isObject()) return context->fail(entry, "must be an object");
    const View type = entry.member("type");
    const int number = type.isString() ? limitNumber(type.text()) : -1;
    if (number < 0) return context->fail(type, "is no resource limit");
    Limit limit;
    limit.resource = static_cast<uint32_t>(number);
    const View soft = entry.member("soft");
    const View hard = entry.member("hard");
    if (!soft.present() || !hard.present()) return context->fail(entry, "needs soft and hard");
    if (!context->unsigned64(soft, &limit.soft) || !context->unsigned64(hard, &limit.hard)) return false;
    if (limit.soft > limit.hard) return context->fail(soft, "must not be above hard");
    for (const Limit& other : list) {
      if (other.resource == limit.resource) return context->fail(type, "is given twice");
    }
    list.push_back(limit);
  }
  return context->store(limits, list, &target->limits);
}

}  // namespace

bool compileWritable(Context* context, const View& writable, Process* target) {
  if (!writable.present()) return true;
  constexpr uint32_t kMaxPaths = 256;
  if (!context->array(writable)) return false;
  if (writable.count() > kMaxPaths) return context->fail(writable, "has more than 256 paths");
  std::vector<Str> paths(writable.count());
  for (uint32_t index = 0; index < writable.count(); ++index) {
    if (!context->absolutePath(writable.element(index), &paths[index])) return false;
  }
  target->flags |= kProcessConfined;
  return context->store(writable, paths, &target->writablePaths);
}

bool compileProcess(Context* context, const View& process, Process* target) {
  if (!process.isObject()) return context->fail(process, "must be an object");
  const View arguments = process.member("args");
  const View environment = process.member("env");
  if (!context->texts(arguments, &target->arguments) || !context->texts(environment, &target->environment)) {
    return false;
  }
  if (target->arguments.empty()) return context->fail(arguments, "must not be empty");
  if (target->arguments[0].empty()) return context->fail(arguments, "must start with a program");
  for (uint32_t index = 0; index < environment.count(); ++index) {
    const size_t equals = target->environment[index].view().find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return context->fail(environment.element(index), "must be NAME=value");
    }
  }
  const View directory = process.member("cwd");
  if (!context->absolutePath(directory, &target->workingDirectory)) return false;

  bool terminal = false;
  bool noNewPrivileges = false;
  if (!context->boolean(process.member("terminal"), &terminal) ||
      !context->boolean(process.member("noNewPrivileges"), &noNewPrivileges)) {
    return false;
  }
  if (terminal) target->flags |= kProcessTerminal;
  if (noNewPrivileges) target->flags |= kProcessNoNewPrivileges;

  const View score = process.member("oomScoreAdj");
  if (score.present()) {
    int64_t value = 0;
    if (!context->integer(score, -1000, 1000, &value)) return false;
    target->oomScore = static_cast<int32_t>(value);
    target->flags |= kProcessOomScore;
  }
  const View size = process.member("consoleSize");
  int64_t rows = 0;
  int64_t columns = 0;
  if (!context->object(size) || !context->integer(size.member("height"), 0, 65535, &rows) ||
      !context->integer(size.member("width"), 0, 65535, &columns)) {
    return false;
  }
  target->rows = static_cast<uint16_t>(rows);
  target->columns = static_cast<uint16_t>(columns);

  return compileScheduling(context, process, target) &&
         context->text(process.member("apparmorProfile"), &target->appArmorProfile) &&
         context->text(process.member("selinuxLabel"), &target->seLinuxLabel) &&
         compileUser(context, process.member("user"), target) &&
         compileCapabilities(context, process.member("capabilities"), target) &&
         compileLimits(context, process.member("rlimits"), target);
}

}  // namespace bulkhead::plan
