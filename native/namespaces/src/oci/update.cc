// update: limits of a live container. What is not mentioned stays.
#include <fcntl.h>
#include <unistd.h>

#include "cgroup/control.h"
#include "oci/command.h"
#include "oci/document.h"
#include "oci/instance.h"
#include "plan/compile.h"

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
  // Which devices may be used is decided when the container is created; engines send their whole list again.
  resources.RemoveMember("devices");
  Instance instance(session);
  if (!instance.open(arguments.operands()[0]) || !instance.lock()) return kFailed;
  if (instance.phase() == Phase::stopped) return exitStatus(session->fail("container not running"));
  return exitStatus(apply(session, instance.cgroups(), resources));
}

}  // namespace bulkhead::oci
