// Converts arguments, validates them and registers the core's functions; decides nothing.
#include <fcntl.h>
#include <napi.h>
#include <sys/socket.h>

#include <cerrno>
#include <map>
#include <memory>
#include <vector>

#include "fd_watch.h"
#include "init/report.h"
#include "launcher.h"
#include "plan/compile.h"
#include "sys/procfs.h"
#include "values.h"

namespace bulkhead::binding {

void registerCgroups(Napi::Env env, Napi::Object exports);
void registerTrees(Napi::Env env, Napi::Object exports);
void registerReach(Napi::Env env, Napi::Object exports);
void registerNetwork(Napi::Env env, Napi::Object exports);

namespace {

/** What one JavaScript environment owns; workers load the addon again and get their own. */
struct Instance {
  seccomp::Cache cache;
  /** By path: production runs one build of init, tests a second. */
  std::map<std::string, Launcher> launchers;
  std::vector<std::string> shimCgroups;
};

Instance* instanceOf(const Napi::CallbackInfo& info) {
  return info.Env().GetInstanceData<Instance>();
}

/** compile(kind: "container" | "exec" | "birth", json: string) -> { bytes, warnings } */
Napi::Value compile(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const std::string kind = info[0].As<Napi::String>().Utf8Value();
  const std::string json = info[1].As<Napi::String>().Utf8Value();
  plan::Compiled compiled;
  plan::CompileError error;
  seccomp::Cache* cache = &instanceOf(info)->cache;
  const bool ok = kind == "exec"    ? plan::compileExec(json, cache, &compiled, &error)
                  : kind == "birth" ? plan::compileBirth(json, cache, &compiled, &error)
                                    : plan::compileContainer(json, cache, &compiled, &error);
  if (!ok) return failed(env, "plan." + error.pointer, "validate", EINVAL, error.message);
  Napi::Object value = Napi::Object::New(env);
  value.Set("bytes", Napi::Buffer<char>::Copy(env, compiled.bytes.data(), compiled.bytes.size()));
  Napi::Array warnings = Napi::Array::New(env, compiled.warnings.size());
  for (uint32_t index = 0; index < compiled.warnings.size(); ++index) {
    warnings.Set(index, text(env, compiled.warnings[index]));
  }
  value.Set("warnings", warnings);
  return succeeded(env, value);
}

std::string_view textOf(const Napi::Uint8Array& bytes) {
  return {reinterpret_cast<const char*>(bytes.Data()), bytes.ByteLength()};
}

/** fork(initPath, mode, [in, out, err], relay, birth) -> report */
Napi::Value fork(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Instance* instance = instanceOf(info);
  const std::string path = info[0].As<Napi::String>().Utf8Value();
  auto launcher = instance->launchers.find(path);
  if (launcher == instance->launchers.end()) {
    Launcher fresh;
    Status loaded = fresh.load(path);
    if (!loaded.ok()) return failed(env, "load bulkhead-init", loaded.error());
    fresh.placeIn(instance->shimCgroups);
    launcher = instance->launchers.emplace(path, std::move(fresh)).first;
  }
  const bool exec = info[1].As<Napi::String>().Utf8Value() == "exec";
  const Napi::Array fds = info[2].As<Napi::Array>();
  const int stdio[3] = {integer(fds.Get(0u)), integer(fds.Get(1u)), integer(fds.Get(2u))};
  const init::Mode mode = exec ? init::Mode::exec : init::Mode::container;
  Result<Fd> report = launcher->second.fork(mode, stdio, integer(info[3]), textOf(info[4].As<Napi::Uint8Array>()));
  if (!report.ok()) return failed(env, "spawn", report.error());
  return succeeded(env, Napi::Number::New(env, report.value().release()));
}

/** placeShims(directories): where shims live that are forked from now on */
Napi::Value placeShims(const Napi::CallbackInfo& info) {
  Instance* instance = instanceOf(info);
  const Napi::Array list = info[0].As<Napi::Array>();
  instance->shimCgroups.clear();
  for (uint32_t index = 0; index < list.Length(); ++index) {
    instance->shimCgroups.push_back(list.Get(index).As<Napi::String>().Utf8Value());
  }
  for (auto& [path, launcher] : instance->launchers) launcher.placeIn(instance->shimCgroups);
  return info.Env().Undefined();
}

/** awaitFork(report) -> { pid, pidfd } */
Napi::Value awaitFork(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Result<Forked> forked = Launcher::await(integer(info[0]));
  if (!forked.ok()) return failed(env, "spawn", forked.error());
  Napi::Object value = Napi::Object::New(env);
  value.Set("pid", Napi::Number::New(env, forked.value().pid));
  value.Set("pidfd", Napi::Number::New(env, forked.value().pidfd.release()));
  return succeeded(env, value);
}

/** handPlan(report, plan, descriptors) */
Napi::Value handPlan(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const std::string_view plan = textOf(info[1].As<Napi::Uint8Array>());
  const Napi::Array list = info[2].As<Napi::Array>();
  std::vector<int> descriptors;
  for (uint32_t index = 0; index < list.Length(); ++index) descriptors.push_back(integer(list.Get(index)));
  Status handed = Launcher::hand(integer(info[0]), plan, descriptors);
  return handed.ok() ? succeeded(env, env.Undefined()) : failed(env, "spawn", handed.error());
}

Napi::Value timingsOf(Napi::Env env, const init::Timings& timings) {
  const uint32_t count = timings.count < init::kMaxTimed ? timings.count : init::kMaxTimed;
  Napi::Array steps = Napi::Array::New(env, count);
  for (uint32_t index = 0; index < count; ++index) {
    const init::TimedStep& step = timings.steps[index];
    Napi::Object row = Napi::Object::New(env);
    row.Set("name", Napi::String::New(env, step.name));
    row.Set("atNs", Napi::Number::New(env, static_cast<double>(step.atNs)));
    row.Set("inChild", Napi::Boolean::New(env, step.inChild != 0));
    steps.Set(index, row);
  }
  return steps;
}

Napi::Object refOf(Napi::Env env, int pid, uint64_t ticks) {
  Napi::Object ref = Napi::Object::New(env);
  ref.Set("pid", Napi::Number::New(env, pid));
  ref.Set("startTicks", Napi::Number::New(env, static_cast<double>(ticks)));
  return ref;
}

/** receive(report) -> report object; value null at end of file, undefined when nothing is there yet */
Napi::Value receive(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  init::Report report = {};
  Result<sys::Received> received = sys::receiveMessage(integer(info[0]), &report, sizeof report);
  if (!received.ok()) {
    if (received.error().err == EAGAIN) return succeeded(env, env.Undefined());
    return failed(env, "report", received.error());
  }
  if (received.value().size == 0) return succeeded(env, env.Null());
  Status checked = init::checkReport(&report, received.value().size);
  if (!checked.ok()) return failed(env, "report", checked.error());
  if (report.kind == init::ReportKind::failed) return failed(env, report.step, report.op, report.err, report.path);
  Napi::Object value = Napi::Object::New(env);
  const auto number = [&](double n) { return Napi::Number::New(env, n); };
  if (report.kind == init::ReportKind::network) {
    value.Set("kind", Napi::String::New(env, "network"));
    value.Set("pid", number(report.processPid));
  } else if (report.kind == init::ReportKind::started) {
    value.Set("kind", Napi::String::New(env, "started"));
    value.Set("shim", refOf(env, report.shimPid, report.shimTicks));
    value.Set("process", refOf(env, report.processPid, report.processTicks));
    value.Set("startedAtUnixMs", number(static_cast<double>(report.startedAtUnixMs)));
    if (received.value().size == sizeof report) value.Set("timings", timingsOf(env, report.timings));
  } else {
    value.Set("kind", Napi::String::New(env, "exited"));
    value.Set("exitCode", report.exitCode < 0 ? env.Null() : Napi::Value(number(report.exitCode)));
    value.Set("signal", report.signal == 0 ? env.Null() : Napi::Value(number(report.signal)));
    value.Set("oomKilled", Napi::Boolean::New(env, report.oomKilled != 0));
    value.Set("leaseExpired", Napi::Boolean::New(env, report.leaseExpired != 0));
    value.Set("startedAtUnixMs", number(static_cast<double>(report.startedAtUnixMs)));
    value.Set("finishedAtUnixMs", number(static_cast<double>(report.finishedAtUnixMs)));
  }
  return succeeded(env, value);
}

/** resize(report, rows, columns) */
Napi::Value resize(const Napi::CallbackInfo& info) {
  const init::ControlMessage message = {static_cast<uint16_t>(integer(info[1])),
                                        static_cast<uint16_t>(integer(info[2]))};
  Status sent = sys::sendMessage(integer(info[0]), &message, sizeof message);
  return sent.ok() ? succeeded(info.Env(), info.Env().Undefined()) : failed(info.Env(), "resize", sent.error());
}

/** proceed(report): the network namespace is connected */
Napi::Value proceed(const Napi::CallbackInfo& info) {
  Status sent = sys::sendMessage(integer(info[0]), "n", 1);
  return sent.ok() ? succeeded(info.Env(), info.Env().Undefined()) : failed(info.Env(), "network", sent.error());
}

/** hangUp(report): the shim reads end of file and can still answer */
Napi::Value hangUp(const Napi::CallbackInfo& info) {
  shutdown(integer(info[0]), SHUT_WR);
  return info.Env().Undefined();
}

/** reap(pidfd): false while it runs */
Napi::Value reap(const Napi::CallbackInfo& info) {
  Result<sys::Ended> ended = sys::reap(integer(info[0]), false);
  return Napi::Boolean::New(info.Env(), ended.ok() || ended.error().err != EAGAIN);
}

/** closeFd(fd) */
Napi::Value closeFd(const Napi::CallbackInfo& info) {
  const Fd closed(integer(info[0]));
  return info.Env().Undefined();
}

/** openProcess({ pid, startTicks }) -> pidfd; value null when that process is gone */
Napi::Value openProcess(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const Napi::Object ref = info[0].As<Napi::Object>();
  const int pid = integer(ref.Get("pid"));
  const double ticks = ref.Get("startTicks").As<Napi::Number>().DoubleValue();
  Result<Fd> fd = sys::openProcess({pid, static_cast<uint64_t>(ticks)});
  if (fd.ok()) return succeeded(env, Napi::Number::New(env, fd.value().release()));
  if (fd.error().err == ESRCH) return succeeded(env, env.Null());
  return failed(env, "process", fd.error());
}

/** signalProcess(pidfd, signal): false when it is gone */
Napi::Value signalProcess(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Status sent = sys::signalPid(integer(info[0]), integer(info[1]));
  if (!sent.ok() && sent.error().err != ESRCH) return failed(env, "signal", sent.error());
  return succeeded(env, Napi::Boolean::New(env, sent.ok()));
}

/** makePair(kind: "pipe" | "stream") -> [read or left, write or right]; both close-on-exec and blocking */
Napi::Value makePair(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const bool pipe = info[0].As<Napi::String>().Utf8Value() == "pipe";
  Result<sys::Pair> pair = pipe ? sys::pipePair() : sys::socketPair(SOCK_STREAM);
  if (!pair.ok()) return failed(env, "stdio", pair.error());
  Napi::Array fds = Napi::Array::New(env, 2);
  fds.Set(0u, Napi::Number::New(env, pair.value().left.release()));
  fds.Set(1u, Napi::Number::New(env, pair.value().right.release()));
  return succeeded(env, fds);
}

/** setNonblocking(fd) */
Napi::Value setNonblocking(const Napi::CallbackInfo& info) {
  const int fd = integer(info[0]);
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) return failed(info.Env(), "stdio", "fcntl", errno, "");
  return succeeded(info.Env(), info.Env().Undefined());
}

}  // namespace

Napi::Object registerAll(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(std::make_unique<Instance>().release());
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("compile", compile);
  add("fork", fork);
  add("placeShims", placeShims);
  add("awaitFork", awaitFork);
  add("handPlan", handPlan);
  add("receive", receive);
  add("resize", resize);
  add("hangUp", hangUp);
  add("proceed", proceed);
  add("reap", reap);
  add("closeFd", closeFd);
  add("openProcess", openProcess);
  add("signalProcess", signalProcess);
  add("makePair", makePair);
  add("setNonblocking", setNonblocking);
  exports.Set("FdWatch", FdWatch::define(env));
  registerCgroups(env, exports);
  registerTrees(env, exports);
  registerReach(env, exports);
  registerNetwork(env, exports);
  return exports;
}

}  // namespace bulkhead::binding

static Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  return bulkhead::binding::registerAll(env, exports);
}
NODE_API_MODULE(namespaces, initialize)
