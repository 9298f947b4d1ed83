#include "values.h"

namespace bulkhead::binding {

Napi::Value failed(Napi::Env env, std::string_view step, std::string_view op, int err, std::string_view path) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("ok", Napi::Boolean::New(env, false));
  result.Set("step", text(env, step));
  result.Set("op", text(env, op));
  result.Set("errno", Napi::Number::New(env, err));
  result.Set("path", text(env, path));
  return result;
}

Napi::Value failed(Napi::Env env, std::string_view step, const Error& error) {
  return failed(env, step, error.op, error.err, error.path.view());
}

Napi::Value succeeded(Napi::Env env, Napi::Value value) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("ok", Napi::Boolean::New(env, true));
  result.Set("value", value);
  return result;
}

}  // namespace bulkhead::binding
