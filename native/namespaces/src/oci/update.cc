// update: limits of a live container. What is not mentioned stays.
#include <fcntl.h>
#include <unistd.h>

#include "cgroup/control.h"
#include "oci/command.h"
#include "oci/document.h"
#include "oci/instance.h"
#include "oci/scope.h"
#include "plan/compile.h"
#include "plan/device_rules.h"
#include "sys/file.h"

namespace bulkhead::oci {
namespace {

using rapidjson::Document;
using rapidjson::Value;

constexpr size_t kArenaBytes = 4 << 20;

struct Limit {
  const char* option;
  const char* part;
  const char* member;
  bool text;
};
constexpr Limit kLimits[] = {
    {"blkio-weight", "blockIO", "weight", false},
    {"cpu-period", "cpu", "period", false},
    {"cpu-quota", "cpu", "quota", false},
    {"cpu-burst", "cpu", "burst", false},
    {"cpu-idle", "cpu", "idle", false},
    {"cpu-share", "cpu", "shares", false},
    {"cpu-rt-period", "cpu", "realtimePeriod", false},
    {"cpu-rt-runtime", "cpu", "realtimeRuntime", false},
    {"cpuset-cpus", "cpu", "cpus", true},
    {"cpuset-mems", "cpu", "mems", true},
    {"memory", "memory", "limit", false},
    {"memory-reservation", "memory", "reservation", false},
    {"memory-swap", "memory", "swap", false},
    {"pids-limit", "pids", "limit", false},
};

bool readResources(Session* session, const std::string& source, Document* resources) {
  std::string text;
  if (source != "-") {
    if (!readText(session, AT_FDCWD, source.c_str(), &text)) return false;
  } else {
    char part[4096];
    for (ssize_t count = 0; (count = read(STDIN_FILENO, part, sizeof part)) > 0;) {
      text.append(part, static_cast<size_t>(count));
      if (text.size() > plan::kMaxJsonBytes) return session->fail("--resources is longer than 4 MiB");
    }
  }
  if (!parseText(session, "--resources", text, resources)) return false;
  return resources->IsObject() ? true : session->fail("--resources must be an object");
}

bool addLimits(Session* session, const Arguments& arguments, Document* resources) {
  for (const Limit& limit : kLimits) {
    if (!arguments.has(limit.option)) continue;
    const std::string given = arguments.value(limit.option);
    Value value;
    if (limit.text) {
      value = textValue(given, resources);
    } else {
      char* end = nullptr;
      const long long number = strtoll(given.c_str(), &end, 10);
      if (given.empty() || *end != '\0') return session->fail(std::string("--") + limit.option + " needs a number");
      value.SetInt64(number);
    }
    if (!resources->HasMember(limit.part)) {
      setMember(resources, limit.part, Value(rapidjson::kObjectType), resources);
    }
    Value& part = (*resources)[limit.part];
    if (!part.IsObject()) return session->fail(std::string("--resources: ") + limit.part + " must be an object");
    setMember(&part, limit.member, std::move(value), resources);
  }
  return true;
}

bool writeDeviceRules(Session* session, const std::string& directory, const std::vector<plan::DeviceRule>& rules) {
  for (const plan::DeviceRule& rule : rules) {
    const std::string file = directory + (rule.allow ? "/devices.allow" : "/devices.deny");
    Status written = sys::writeFile(AT_FDCWD, file.c_str(), plan::deviceRuleText(rule));
    if (!written.ok()) return session->fail("cannot update", written.error());
  }
  return true;
}

/** v1's device rules have no file that could be written back, so what is changed is the difference, both ways. */
class DeviceUpdate {
 public:
  /** Does nothing on v2, where rules are a program that the other limits bring along. */
  bool apply(Session* session, const cgroup::Paths& paths, const Document& resources) {
    if (paths.isV2() || !resources.HasMember("devices")) return true;
    const std::string* directory = paths.find("devices");
    if (directory == nullptr) return session->fail("cannot update: the container has no devices controller");
    std::string text;
    if (!readText(session, AT_FDCWD, (*directory + "/devices.list").c_str(), &text)) return false;
    if (!plan::parseDeviceList(text, &before_)) return session->fail("cannot read devices.list");
    Arena arena(kArenaBytes);
    plan::Context context(&arena);
    std::vector<plan::DeviceRule> rules;
    const plan::View root(resources);
    if (!plan::readDeviceRules(&context, root.member("devices"), &rules)) {
      return session->fail("resources: " + context.error().pointer + " " + context.error().message);
    }
    if (rules.empty()) return true;
    after_ = plan::combine(rules);
    directory_ = *directory;
    if (writeDeviceRules(session, directory_, plan::deviceChanges(before_, after_))) return true;
    undo();
    return false;
  }

  void undo() const {
    Session unheard;
    if (!directory_.empty()) writeDeviceRules(&unheard, directory_, plan::deviceChanges(after_, before_));
  }

 private:
  std::string directory_;
  plan::DeviceAccess before_;
  plan::DeviceAccess after_;
};

bool apply(Session* session, const cgroup::Paths& paths, const Document& resources) {
  Document placement(rapidjson::kObjectType);
  Value directories(rapidjson::kObjectType);
  for (const auto& [controller, path] : paths.entries) {
    setMember(&directories, controller.c_str(), textValue(path, &placement), &placement);
  }
  placement.AddMember("paths", directories, placement.GetAllocator());
  Arena arena(kArenaBytes);
  plan::Context context(&arena);
  Span<plan::CgroupDirectory> writes;
  if (!plan::compileCgroups(&context, plan::View(placement), plan::View(resources), &writes)) {
    return session->fail("resources: " + context.error().pointer + " " + context.error().message);
  }
  for (const std::string& warning : context.takeWarnings()) session->warn(warning);
  Status applied = cgroup::applyLive(writes);
  return applied.ok() ? true : session->fail("cannot update", applied.error());
}

}  // namespace

int runUpdate(Session* session, const Arguments& arguments) {
  Document resources(rapidjson::kObjectType);
  if (arguments.has("resources") && !readResources(session, arguments.value("resources"), &resources)) return kFailed;
  if (!addLimits(session, arguments, &resources)) return kFailed;
  Instance instance(session);
  if (!instance.open(arguments.operands()[0]) || !instance.lock()) return kFailed;
  if (instance.phase() == Phase::stopped) return exitStatus(session->fail("container not running"));
  const cgroup::Paths paths = instance.cgroups();
  DeviceUpdate devices;
  if (!devices.apply(session, paths, resources)) return kFailed;
  if (!paths.isV2()) resources.RemoveMember("devices");
  if (!apply(session, paths, resources)) {
    devices.undo();
    return kFailed;
  }
  const std::string unit = instance.unit();
  return exitStatus(unit.empty() || updateScope(session, unit, plan::View(resources)));
}

}  // namespace bulkhead::oci
