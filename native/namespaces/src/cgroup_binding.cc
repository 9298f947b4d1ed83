// The cgroup half of the addon.
#include <napi.h>

#include <cerrno>

#include "cgroup/control.h"
#include "cgroup/host.h"
#include "cgroup/threads.h"
#include "cgroup/usage.h"
#include "plan/codec.h"
#include "plan/compile.h"
#include "values.h"

namespace bulkhead::binding {
namespace {

/** { controller: directory } */
cgroup::Paths pathsOf(const Napi::Value& value) {
  cgroup::Paths paths;
  const Napi::Object object = value.As<Napi::Object>();
  const Napi::Array names = object.GetPropertyNames();
  for (uint32_t index = 0; index < names.Length(); ++index) {
    const std::string name = names.Get(index).As<Napi::String>().Utf8Value();
    paths.entries.emplace_back(name, object.Get(name).As<Napi::String>().Utf8Value());
  }
  return paths;
}

Napi::Value answer(Napi::Env env, const char* step, const Status& status) {
  return status.ok() ? succeeded(env, env.Undefined()) : failed(env, step, status.error());
}

Napi::Value answer(Napi::Env env, const char* step, Result<bool> result) {
  return result.ok() ? succeeded(env, Napi::Boolean::New(env, result.value())) : failed(env, step, result.error());
}

/** applyResources(json of { cgroup, resources }) */
Napi::Value applyResources(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arena arena(plan::kPlanArenaBytes);
  plan::Context context(&arena);
  rapidjson::Document document;
  std::string reason;
  if (!plan::parseBounded(info[0].As<Napi::String>().Utf8Value(), &document, &reason)) {
    return failed(env, "resources", "validate", EINVAL, reason);
  }
  const plan::View root(document);
  Span<plan::CgroupDirectory> directories;
  if (!plan::compileCgroups(&context, root.member("cgroup"), root.member("resources"), &directories)) {
    return failed(env, "resources." + context.error().pointer, "validate", EINVAL, context.error().message);
  }
  return answer(env, "resources", cgroup::applyLive(directories));
}

/** requestFreeze(paths, freeze) */
Napi::Value requestFreeze(const Napi::CallbackInfo& info) {
  return answer(info.Env(), "freeze", cgroup::requestFreeze(pathsOf(info[0]), info[1].As<Napi::Boolean>()));
}

/** frozen(paths) -> boolean */
Napi::Value frozen(const Napi::CallbackInfo& info) {
  return answer(info.Env(), "freeze", cgroup::frozen(pathsOf(info[0])));
}

/** killAll(paths) */
Napi::Value killAll(const Napi::CallbackInfo& info) {
  return answer(info.Env(), "kill", cgroup::killAll(pathsOf(info[0])));
}

/** removeOnce(paths) -> boolean: nothing is left */
Napi::Value removeOnce(const Napi::CallbackInfo& info) {
  return answer(info.Env(), "remove cgroup", cgroup::removeOnce(pathsOf(info[0])));
}

/** openEvents(paths) -> descriptor for an FdWatch of kind "priority" */
Napi::Value openEvents(const Napi::CallbackInfo& info) {
  Result<Fd> fd = cgroup::openEvents(pathsOf(info[0]));
  if (!fd.ok()) return failed(info.Env(), "cgroup events", fd.error());
  return succeeded(info.Env(), Napi::Number::New(info.Env(), fd.value().release()));
}

template <class T>
Napi::Value orNull(Napi::Env env, const std::optional<T>& value) {
  if (!value.has_value()) return env.Null();
  return Napi::Number::New(env, static_cast<double>(*value));
}

Napi::Value stallsOf(Napi::Env env, const cgroup::Stalls& stalls) {
  Napi::Object value = Napi::Object::New(env);
  const auto set = [&](const char* average, const char* total, const cgroup::Stall& stall) {
    value.Set(average, Napi::Number::New(env, static_cast<double>(stall.average10) / 100));
    value.Set(total, Napi::Number::New(env, static_cast<double>(stall.totalUs)));
  };
  set("someAvg10Percent", "someTotalUs", stalls.some);
  set("fullAvg10Percent", "fullTotalUs", stalls.full);
  return value;
}

/** readUsage(paths) */
Napi::Value readUsage(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const cgroup::Usage usage = cgroup::readUsage(pathsOf(info[0]));
  Napi::Object value = Napi::Object::New(env);
  const auto set = [&](const char* name, uint64_t number) {
    value.Set(name, Napi::Number::New(env, static_cast<double>(number)));
  };
  set("cpuUsageNs", usage.cpuUsageNs);
  set("throttledNs", usage.throttledNs);
  set("throttledPeriods", usage.throttledPeriods);
  set("memoryBytes", usage.memoryBytes);
  set("memoryPeakBytes", usage.memoryPeakBytes);
  value.Set("memoryLimitBytes", orNull(env, usage.memoryLimitBytes));
  set("pids", usage.pids);
  set("oomKills", usage.oomKills);
  set("ioReadBytes", usage.ioReadBytes);
  set("ioWriteBytes", usage.ioWriteBytes);
  set("ioReadOps", usage.ioReadOps);
  set("ioWriteOps", usage.ioWriteOps);
  if (usage.pressure.has_value()) {
    Napi::Object pressure = Napi::Object::New(env);
    pressure.Set("cpu", stallsOf(env, usage.pressure->cpu));
    pressure.Set("memory", stallsOf(env, usage.pressure->memory));
    pressure.Set("io", stallsOf(env, usage.pressure->io));
    value.Set("pressure", pressure);
  }
  return value;
}

/** readLimits(paths) */
Napi::Value readLimits(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const cgroup::Limits limits = cgroup::readLimits(pathsOf(info[0]));
  Napi::Object value = Napi::Object::New(env);
  value.Set("cpuQuotaUs", orNull(env, limits.cpuQuotaUs));
  value.Set("cpuPeriodUs", Napi::Number::New(env, static_cast<double>(limits.cpuPeriodUs)));
  value.Set("cpuWeightOrShares", orNull(env, limits.cpuWeightOrShares));
  value.Set("memoryLimitBytes", orNull(env, limits.memoryLimitBytes));
  value.Set("pidsMax", orNull(env, limits.pidsMax));
  value.Set("cpusetCpus", limits.cpusetCpus.has_value() ? Napi::Value(text(env, *limits.cpusetCpus)) : env.Null());
  return value;
}

/** readAffinity(paths, cpus) -> { threads, straying, cpus } */
Napi::Value readAffinity(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::vector<unsigned> given;
  const Napi::Array cpus = info[1].As<Napi::Array>();
  for (uint32_t index = 0; index < cpus.Length(); ++index) {
    given.push_back(cpus.Get(index).As<Napi::Number>().Uint32Value());
  }
  Result<cgroup::ThreadAffinity> read = cgroup::readAffinity(pathsOf(info[0]), given);
  if (!read.ok()) return failed(env, "affinity", read.error());
  const cgroup::ThreadAffinity& affinity = read.value();
  Napi::Object value = Napi::Object::New(env);
  value.Set("threads", Napi::Number::New(env, static_cast<double>(affinity.threads)));
  value.Set("straying", Napi::Number::New(env, static_cast<double>(affinity.straying)));
  Napi::Array outside = Napi::Array::New(env, affinity.cpus.size());
  for (uint32_t index = 0; index < affinity.cpus.size(); ++index) {
    outside.Set(index, Napi::Number::New(env, affinity.cpus[index]));
  }
  value.Set("cpus", outside);
  return succeeded(env, value);
}

/** probe() -> HostFeatures */
Napi::Value probe(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const cgroup::HostFeatures features = cgroup::probeHost();
  Napi::Object value = Napi::Object::New(env);
  value.Set("cgroupMode", text(env, features.cgroupMode));
  Napi::Object mounts = Napi::Object::New(env);
  for (const auto& mount : features.cgroupMounts) mounts.Set(mount.first, text(env, mount.second));
  value.Set("cgroupMounts", mounts);
  value.Set("kernel", text(env, features.kernel));
  value.Set("idmappedMounts", Napi::Boolean::New(env, features.idmappedMounts));
  value.Set("overlayLowerdirFd", Napi::Boolean::New(env, features.overlayLowerdirFd));
  value.Set("userNamespaces", Napi::Boolean::New(env, features.userNamespaces));
  value.Set("seccomp", Napi::Boolean::New(env, features.seccomp));
  value.Set("writeConfinement", Napi::Boolean::New(env, features.writeConfinement));
  Napi::Array problems = Napi::Array::New(env, features.problems.size());
  for (uint32_t index = 0; index < features.problems.size(); ++index) {
    problems.Set(index, text(env, features.problems[index]));
  }
  value.Set("problems", problems);
  return value;
}

}  // namespace

void registerCgroups(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("applyResources", applyResources);
  add("requestFreeze", requestFreeze);
  add("frozen", frozen);
  add("killAll", killAll);
  add("removeOnce", removeOnce);
  add("openEvents", openEvents);
  add("readUsage", readUsage);
  add("readLimits", readLimits);
  add("readAffinity", readAffinity);
  add("probe", probe);
}

}  // namespace bulkhead::binding
