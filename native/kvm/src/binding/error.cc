#include "binding/error.h"

#include <cstring>
#include <string>

namespace bulkhead::binding {

Napi::Value errorOf(Napi::Env env, const Error& error) {
  const char* code = strerrorname_np(error.err);
  if (code == nullptr) code = "UNKNOWN";
  std::string message = std::string(error.op) + ": " + code;
  if (!error.path.empty()) message += " (" + std::string(error.path.view()) + ")";
  Napi::Object value = Napi::Error::New(env, message).Value();
  value.Set("code", code);
  // Negative, as libuv's.
  value.Set("errno", Napi::Number::New(env, -error.err));
  value.Set("syscall", error.op);
  if (!error.path.empty()) value.Set("path", error.path.c_str());
  return value;
}

void raise(Napi::Env env, const Error& error) {
  Napi::Error(env, errorOf(env, error)).ThrowAsJavaScriptException();
}

}  // namespace bulkhead::binding
