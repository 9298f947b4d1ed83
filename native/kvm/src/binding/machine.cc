#include "binding/machine.h"

#include <cerrno>
#include <string>
#include <vector>

#include "binding/error.h"
#include "vmm/open_machine.h"

namespace bulkhead::binding {
namespace {

Result<std::unique_ptr<vm::Machine>> open(const std::vector<std::string>& words) {
  std::string program = "bulkhead-vmm";
  std::vector<char*> pointers = {program.data()};
  std::vector<std::string> copies = words;
  for (std::string& word : copies) pointers.push_back(word.data());
  vm::VmmOptions options = TRY(vm::parseOptions(static_cast<int>(pointers.size()), pointers.data()));
  // Filters and rules of a thread would stay with whatever else it does, and some are the whole process's.
  options.jail = false;
  if (options.selfTest || !options.question.control.empty() || !options.control.empty()) {
    return failure("parse", EINVAL, "only what describes a machine");
  }
  return vm::openMachine(options);
}

}  // namespace

Napi::Function Machine::define(Napi::Env env) {
  return DefineClass(env, "Machine",
                     {
                         InstanceMethod<&Machine::run>("run"),
                         InstanceMethod<&Machine::stop>("stop"),
                         InstanceMethod<&Machine::pause>("pause"),
                         InstanceMethod<&Machine::resume>("resume"),
                         InstanceMethod<&Machine::exits>("exits"),
                         InstanceMethod<&Machine::phases>("phases"),
                     });
}

Machine::Machine(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Machine>(info) {
  const Napi::Array given = info[0].As<Napi::Array>();
  std::vector<std::string> words;
  for (uint32_t index = 0; index < given.Length(); ++index) {
    words.push_back(given.Get(index).As<Napi::String>().Utf8Value());
  }
  auto machine = open(words);
  if (machine.ok()) {
    machine_ = machine.take();
  } else {
    raise(info.Env(), machine.error());
  }
}

Machine::~Machine() {
  join();
}

Napi::Value Machine::run(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (started_) {
    raise(env, failure("run", EALREADY, "a machine runs once"));
    return env.Undefined();
  }
  ended_ = Napi::Promise::Deferred::New(env);
  const Napi::Value promise = ended_->Promise();
  tell_ = Napi::ThreadSafeFunction::New(env, Napi::Function(), "machine", 1, 1);
  const int err = pthread_create(&thread_, nullptr, live, this);
  if (err != 0) {
    tell_.Release();
    raise(env, failure("pthread_create", err));
    return env.Undefined();
  }
  started_ = true;
  // Nobody else may hold a machine whose end is waited for.
  Ref();
  return promise;
}

void* Machine::live(void* self) {
  auto* machine = static_cast<Machine*>(self);
  machine->outcome_ = machine->machine_->run();
  // Refused only by an environment that ends, and then nobody waits.
  machine->tell_.NonBlockingCall([machine](Napi::Env env, Napi::Function) { machine->settle(env); });
  machine->tell_.Release();
  return nullptr;
}

void Machine::settle(Napi::Env env) {
  join();
  if (outcome_->ok()) {
    Napi::Object end = Napi::Object::New(env);
    end.Set("outcome", nameOf(outcome_->value()));
    end.Set("detail", Napi::Number::New(env, static_cast<double>(machine_->ending().detail())));
    ended_->Resolve(end);
  } else {
    ended_->Reject(errorOf(env, outcome_->error()));
  }
  Unref();
}

void Machine::join() {
  if (!started_ || over_) return;
  machine_->stop();
  pthread_join(thread_, nullptr);
  over_ = true;
}

void Machine::stop(const Napi::CallbackInfo&) {
  machine_->stop();
}

void Machine::pause(const Napi::CallbackInfo& info) {
  // Before its guest runs, Node's thread would wait for another one to get so far.
  if (started_ && !over_ && machine_->runs()) {
    machine_->pause();
  } else {
    raise(info.Env(), failure("pause", ESRCH, "the machine does not run"));
  }
}

void Machine::resume(const Napi::CallbackInfo&) {
  if (started_ && !over_) machine_->resume();
}

Napi::Value Machine::exits(const Napi::CallbackInfo& info) {
  const vm::ExitCounts counts = machine_->exits();
  Napi::Object answer = Napi::Object::New(info.Env());
  const auto set = [&](const char* name, uint64_t count) {
    answer.Set(name, Napi::Number::New(info.Env(), static_cast<double>(count)));
  };
  set("portReads", counts.portReads);
  set("portWrites", counts.portWrites);
  set("memoryReads", counts.memoryReads);
  set("memoryWrites", counts.memoryWrites);
  set("unclaimed", counts.unclaimed);
  return answer;
}

Napi::Value Machine::phases(const Napi::CallbackInfo& info) {
  Napi::Array answer = Napi::Array::New(info.Env());
  for (const vm::Phases::Phase& phase : machine_->phases().all()) {
    Napi::Object entry = Napi::Object::New(info.Env());
    entry.Set("name", phase.name);
    // Exact: 2^53 ns are 104 days, and a double keeps more than a microsecond beyond.
    entry.Set("beganNs", Napi::Number::New(info.Env(), static_cast<double>(phase.beganNs)));
    answer.Set(answer.Length(), entry);
  }
  return answer;
}

}  // namespace bulkhead::binding
