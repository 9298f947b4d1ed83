// A machine in this process, for JavaScript.
#pragma once

#include <napi.h>
#include <pthread.h>

#include <atomic>
#include <memory>
#include <optional>

#include "machine/machine.h"

namespace bulkhead::binding {

/**
 * new Machine(words: string[]): words as bulkhead-vmm takes them. It lives in threads of its own, which are not jailed:
 * whatever a guest makes of the monitor, it makes of this process.
 */
class Machine : public Napi::ObjectWrap<Machine> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Machine(const Napi::CallbackInfo& info);
  /** Ends a machine that runs. */
  ~Machine() override;

 private:
  /** run() -> Promise<{ outcome, detail }>, once */
  Napi::Value run(const Napi::CallbackInfo& info);
  void stop(const Napi::CallbackInfo& info);
  void pause(const Napi::CallbackInfo& info);
  void resume(const Napi::CallbackInfo& info);
  /** exits() -> counts by kind */
  Napi::Value exits(const Napi::CallbackInfo& info);
  /** phases() -> { name, beganNs }[] */
  Napi::Value phases(const Napi::CallbackInfo& info);

  static void* live(void* self);
  void settle(Napi::Env env);
  void join();

  std::unique_ptr<vm::Machine> machine_;
  std::optional<Napi::Promise::Deferred> ended_;
  Napi::ThreadSafeFunction tell_;
  std::optional<Result<vm::Outcome>> outcome_;
  pthread_t thread_ = {};
  bool started_ = false;
  bool over_ = false;
};

}  // namespace bulkhead::binding
