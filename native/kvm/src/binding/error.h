// Failures as JavaScript errors, in the shape of Node's own: code, errno, syscall, path.
#pragma once

#include <napi.h>

#include "sys/result.h"

namespace bulkhead::binding {

Napi::Value errorOf(Napi::Env env, const Error& error);
/** Thrown when the native function returns. */
void raise(Napi::Env env, const Error& error);

}  // namespace bulkhead::binding
