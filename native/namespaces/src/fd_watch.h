// A descriptor in the event loop: a JavaScript callback whenever it is ready.
#pragma once

#include <napi.h>
#include <uv.h>

namespace bulkhead::binding {

/** new FdWatch(fd, kind, callback): kind "read" or "priority" (POLLPRI). The descriptor stays the caller's. */
class FdWatch : public Napi::ObjectWrap<FdWatch> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit FdWatch(const Napi::CallbackInfo& info);
  ~FdWatch() override;

 private:
  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value unref(const Napi::CallbackInfo& info);
  void stop();
  static void onReady(uv_poll_t* handle, int status, int events);
  static void onEnvironmentEnd(void* self);

  // Freed by libuv's close callback, which may run after this object is gone.
  uv_poll_t* poll_ = nullptr;
  Napi::FunctionReference callback_;
  Napi::Reference<Napi::Object> self_;
  napi_env env_;
};

}  // namespace bulkhead::binding
