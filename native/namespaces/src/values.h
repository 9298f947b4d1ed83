// JavaScript values from plain results: one shape for success, one for failure.
#pragma once

#include <napi.h>

#include <string>

#include "sys/result.h"

namespace bulkhead::binding {

/** { ok: false, step, op, errno, path } */
Napi::Value failed(Napi::Env env, std::string_view step, std::string_view op, int err, std::string_view path);
Napi::Value failed(Napi::Env env, std::string_view step, const Error& error);
/** { ok: true, value } */
Napi::Value succeeded(Napi::Env env, Napi::Value value);

inline Napi::String text(Napi::Env env, std::string_view value) {
  return Napi::String::New(env, value.data(), value.size());
}
inline int integer(const Napi::Value& value) {
  return value.As<Napi::Number>().Int32Value();
}

}  // namespace bulkhead::binding
