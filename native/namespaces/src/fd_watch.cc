#include "fd_watch.h"

#include <string>

#include "values.h"

namespace bulkhead::binding {

Napi::Function FdWatch::define(Napi::Env env) {
  return DefineClass(env, "FdWatch",
                     {InstanceMethod<&FdWatch::close>("close"), InstanceMethod<&FdWatch::unref>("unref")});
}

FdWatch::FdWatch(const Napi::CallbackInfo& info) : Napi::ObjectWrap<FdWatch>(info), env_(info.Env()) {
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env_, &loop);
  poll_ = new uv_poll_t;
  poll_->data = this;
  const int err = uv_poll_init(loop, poll_, integer(info[0]));
  if (err != 0) {
    delete poll_;
    poll_ = nullptr;
    Napi::Error::New(info.Env(), std::string("uv_poll_init: ") + uv_strerror(err)).ThrowAsJavaScriptException();
    return;
  }
  callback_ = Napi::Persistent(info[2].As<Napi::Function>());
  // While it polls nobody else may hold the object; libuv's pointer must not dangle.
  self_ = Napi::Persistent(info.This().As<Napi::Object>());
  napi_add_env_cleanup_hook(env_, onEnvironmentEnd, this);
  const bool priority = info[1].As<Napi::String>().Utf8Value() == "priority";
  uv_poll_start(poll_, priority ? UV_PRIORITIZED : UV_READABLE, onReady);
}

FdWatch::~FdWatch() {
  stop();
}

void FdWatch::stop() {
  if (poll_ == nullptr) return;
  napi_remove_env_cleanup_hook(env_, onEnvironmentEnd, this);
  uv_poll_stop(poll_);
  uv_close(reinterpret_cast<uv_handle_t*>(poll_),
           [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
  poll_ = nullptr;
}

Napi::Value FdWatch::close(const Napi::CallbackInfo& info) {
  stop();
  callback_.Reset();
  self_.Reset();
  return info.Env().Undefined();
}

Napi::Value FdWatch::unref(const Napi::CallbackInfo& info) {
  if (poll_ != nullptr) uv_unref(reinterpret_cast<uv_handle_t*>(poll_));
  return info.Env().Undefined();
}

void FdWatch::onEnvironmentEnd(void* self) {
  FdWatch* watch = static_cast<FdWatch*>(self);
  watch->stop();
  watch->callback_.Reset();
  watch->self_.Reset();
}

void FdWatch::onReady(uv_poll_t* handle, int, int) {
  FdWatch* watch = static_cast<FdWatch*>(handle->data);
  Napi::Env env(watch->env_);
  Napi::HandleScope scope(env);
  napi_value global = nullptr;
  napi_get_global(env, &global);
  // napi_make_callback runs microtasks, so promises that the callback settles go on at once.
  const napi_status called = napi_make_callback(env, nullptr, global, watch->callback_.Value(), 0, nullptr, nullptr);
  if (called == napi_ok) return;
  napi_value thrown = nullptr;
  if (called == napi_pending_exception && napi_get_and_clear_last_exception(env, &thrown) == napi_ok) {
    napi_fatal_exception(env, thrown);
    return;
  }
  // The environment is going away and calls nobody any more.
  watch->stop();
}

}  // namespace bulkhead::binding
