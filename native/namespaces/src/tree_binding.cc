// Removal of trees on a thread of its own: a large one takes seconds, and the event loop's pool has four threads.
#include <napi.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sys/tree.h"
#include "values.h"

namespace bulkhead::binding {
namespace {

struct Place {
  std::string path;
  /** directories in it that stay; none: it goes itself */
  std::vector<std::string> kept;
};

struct Removal {
  std::vector<Place> places;
  std::vector<Status> outcomes;
  std::atomic<bool> cancelled = false;
  std::thread thread;
  Napi::ThreadSafeFunction done;
};

void tell(Napi::Env env, Napi::Function callback, Removal* removal) {
  Napi::Array outcomes = Napi::Array::New(env, removal->outcomes.size());
  for (uint32_t index = 0; index < outcomes.Length(); ++index) {
    const Status& status = removal->outcomes[index];
    outcomes.Set(index, status.ok() ? succeeded(env, env.Undefined()) : failed(env, "remove", status.error()));
  }
  callback.Call({outcomes});
}

/** removeTrees({ path, kept }[], done): calls back with one result per path */
Napi::Value removeTrees(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const Napi::Array places = info[0].As<Napi::Array>();
  Removal* removal = new Removal;
  for (uint32_t index = 0; index < places.Length(); ++index) {
    const auto place = places.Get(index).As<Napi::Object>();
    removal->places.push_back({place.Get("path").As<Napi::String>().Utf8Value(), {}});
    const auto kept = place.Get("kept").As<Napi::Array>();
    for (uint32_t name = 0; name < kept.Length(); ++name) {
      removal->places.back().kept.push_back(kept.Get(name).As<Napi::String>().Utf8Value());
    }
  }
  removal->done =
      Napi::ThreadSafeFunction::New(env, info[1].As<Napi::Function>(), "removeTrees", 0, 1, [removal](Napi::Env) {
        // The environment may end first: what is left waits for the next.
        removal->cancelled = true;
        removal->thread.join();
        delete removal;
      });
  removal->thread = std::thread([removal] {
    for (const auto& [path, kept] : removal->places) {
      removal->outcomes.push_back(kept.empty() ? sys::removeTree(path.c_str(), &removal->cancelled)
                                               : sys::emptyTree(path.c_str(), kept, &removal->cancelled));
    }
    (void)removal->done.BlockingCall(removal, tell);
    (void)removal->done.Release();
  });
  return env.Undefined();
}

/** removeTree(path): at once, for the few small files of a run */
Napi::Value removeTree(const Napi::CallbackInfo& info) {
  const std::atomic<bool> never = false;
  const Status removed = sys::removeTree(info[0].As<Napi::String>().Utf8Value().c_str(), &never);
  return removed.ok() ? succeeded(info.Env(), info.Env().Undefined()) : failed(info.Env(), "remove", removed.error());
}

/** spreadChildren(path) */
Napi::Value spreadChildren(const Napi::CallbackInfo& info) {
  const Status told = sys::spreadChildren(info[0].As<Napi::String>().Utf8Value().c_str());
  return told.ok() ? succeeded(info.Env(), info.Env().Undefined()) : failed(info.Env(), "directory", told.error());
}

}  // namespace

void registerTrees(Napi::Env env, Napi::Object exports) {
  exports.Set("removeTrees", Napi::Function::New(env, removeTrees, "removeTrees"));
  exports.Set("removeTree", Napi::Function::New(env, removeTree, "removeTree"));
  exports.Set("spreadChildren", Napi::Function::New(env, spreadChildren, "spreadChildren"));
}

}  // namespace bulkhead::binding
