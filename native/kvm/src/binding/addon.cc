// The monitor's core as a node addon: converts values and registers functions; decides nothing.
#include <fcntl.h>
#include <napi.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "binding/error.h"
#include "binding/machine.h"
#include "kvm/probe.h"
#include "machine/affinity.h"
#include "machine/self_test.h"
#include "machine/tsc.h"
#include "sys/syscalls.h"

namespace bulkhead::binding {
namespace {

Result<std::vector<vm::Capability>> capabilitiesOf(const std::string& path) {
  const vm::KvmSystem system = TRY(vm::KvmSystem::use(TRY(sys::openAt(AT_FDCWD, path.c_str(), O_RDWR))));
  return vm::capabilitiesOf(system);
}

/** probe(path) -> { [capability]: value } */
Napi::Value probe(const Napi::CallbackInfo& info) {
  auto found = capabilitiesOf(info[0].As<Napi::String>().Utf8Value());
  if (!found.ok()) {
    raise(info.Env(), found.error());
    return info.Env().Undefined();
  }
  Napi::Object answer = Napi::Object::New(info.Env());
  for (const vm::Capability& each : found.value()) answer.Set(each.name, Napi::Number::New(info.Env(), each.value));
  return answer;
}

/** In a thread of libuv's pool, for up to five seconds. */
class SelfTesting : public Napi::AsyncWorker {
 public:
  SelfTesting(Napi::Env env, std::string path)
      : Napi::AsyncWorker(env), promise_(Napi::Promise::Deferred::New(env)), path_(std::move(path)) {}
  Napi::Value promise() const { return promise_.Promise(); }

 protected:
  void Execute() override {
    auto kvm = sys::openAt(AT_FDCWD, path_.c_str(), O_RDWR);
    if (!kvm.ok()) {
      error_ = kvm.error();
      return;
    }
    test_ = vm::selfTest(kvm.take());
    tscKhz_ = vm::measureTscKhz();
    if (test_.reason == vm::KvmReason::unusable) error_ = test_.error;
  }

  void OnOK() override {
    if (error_.has_value()) {
      promise_.Reject(errorOf(Env(), *error_));
      return;
    }
    Napi::Object answer = Napi::Object::New(Env());
    answer.Set("level", nameOf(test_.level));
    answer.Set("reason", nameOf(test_.reason));
    answer.Set("virtualization", test_.virtualization);
    answer.Set("picosecondsPerInstruction",
               Napi::Number::New(Env(), static_cast<double>(test_.picosecondsPerInstruction)));
    answer.Set("tscKhz", Napi::Number::New(Env(), static_cast<double>(tscKhz_)));
    promise_.Resolve(answer);
  }

 private:
  Napi::Promise::Deferred promise_;
  std::string path_;
  vm::SelfTest test_;
  uint64_t tscKhz_ = 0;
  std::optional<Error> error_;
};

/** selfTest(path) -> Promise<{ level, reason, ... }> */
Napi::Value selfTest(const Napi::CallbackInfo& info) {
  // Deletes itself when it has answered.
  auto* testing = new SelfTesting(info.Env(), info[0].As<Napi::String>().Utf8Value());
  const Napi::Value promise = testing->promise();
  testing->Queue();
  return promise;
}

/** runOn(tid, cpus): keeps a thread of any process on some processors */
Napi::Value runOn(const Napi::CallbackInfo& info) {
  const vm::ThreadId thread{info[0].As<Napi::Number>().Int32Value()};
  const Napi::Array list = info[1].As<Napi::Array>();
  std::vector<uint32_t> cpus;
  for (uint32_t at = 0; at < list.Length(); ++at) {
    cpus.push_back(list.Get(at).As<Napi::Number>().Uint32Value());
  }
  const bool real = std::all_of(cpus.begin(), cpus.end(), [](uint32_t cpu) { return cpu < vm::kMaxHostCpus; });
  // Tid 0 would be the caller itself.
  const Status kept = thread.tid <= 0 || !real ? Status(failure("affinity", EINVAL)) : vm::runOn(thread, cpus);
  if (!kept.ok()) raise(info.Env(), kept.error());
  return info.Env().Undefined();
}

/** nextData(descriptor, offset) -> [from, to], the next part of a file that is no hole; undefined when there is none */
Napi::Value nextData(const Napi::CallbackInfo& info) {
  const int file = info[0].As<Napi::Number>().Int32Value();
  const off_t data = lseek(file, info[1].As<Napi::Number>().Int64Value(), SEEK_DATA);
  const off_t hole = data < 0 ? data : lseek(file, data, SEEK_HOLE);
  if (hole < 0) {
    // Behind the last of them (lseek(2)).
    if (errno != ENXIO) raise(info.Env(), failure("lseek", errno));
    return info.Env().Undefined();
  }
  Napi::Array part = Napi::Array::New(info.Env(), 2);
  part.Set(0U, Napi::Number::New(info.Env(), static_cast<double>(data)));
  part.Set(1U, Napi::Number::New(info.Env(), static_cast<double>(hole)));
  return part;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("probe", Napi::Function::New<probe>(env, "probe"));
  exports.Set("selfTest", Napi::Function::New<selfTest>(env, "selfTest"));
  exports.Set("runOn", Napi::Function::New<runOn>(env, "runOn"));
  exports.Set("nextData", Napi::Function::New<nextData>(env, "nextData"));
  exports.Set("Machine", Machine::define(env));
  return exports;
}

NODE_API_MODULE(kvm, initialize)

}  // namespace
}  // namespace bulkhead::binding
