// Converts arguments for bulkhead-reach; decides nothing.
#include <napi.h>

#include "reach_launch.h"
#include "values.h"

namespace bulkhead::binding {
namespace {

/** reach(path, verb, request, output) -> pidfd */
Napi::Value reach(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const std::string path = info[0].As<Napi::String>().Utf8Value();
  const std::string verb = info[1].As<Napi::String>().Utf8Value();
  const Napi::Uint8Array bytes = info[2].As<Napi::Uint8Array>();
  Result<Fd> spawned = launchReach(path.c_str(), verb.c_str(),
                                   {reinterpret_cast<const char*>(bytes.Data()), bytes.ByteLength()}, integer(info[3]));
  if (!spawned.ok()) return failed(env, "spawn", spawned.error());
  return succeeded(env, Napi::Number::New(env, spawned.value().release()));
}

}  // namespace

void registerReach(Napi::Env env, Napi::Object exports) {
  exports.Set("reach", Napi::Function::New(env, reach, "reach"));
}

}  // namespace bulkhead::binding
