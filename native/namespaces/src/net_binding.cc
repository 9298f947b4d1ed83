// Network functions for JavaScript: each does one thing on a pool thread and answers with a promise; decides nothing.
#include <fcntl.h>
#include <napi.h>

#include <cerrno>
#include <functional>
#include <optional>

#include "net/listing.h"
#include "net/socket.h"
#include "net/tap.h"
#include "sys/retry.h"
#include "sys/syscalls.h"
#include "values.h"

namespace bulkhead::binding {
namespace {

/** What a job made on its thread, turned into a value on the main one. */
using Answer = std::function<Napi::Value(Napi::Env)>;
using Job = std::function<Answer()>;

Answer refuse(std::string step, const Error& error) {
  return [step = std::move(step), error](Napi::Env env) { return failed(env, step, error); };
}

class Work : public Napi::AsyncWorker {
 public:
  Work(Napi::Env env, Job job)
      : Napi::AsyncWorker(env), promise_(Napi::Promise::Deferred::New(env)), job_(std::move(job)) {}
  Napi::Promise promise() const { return promise_.Promise(); }

 protected:
  void Execute() override { answer_ = job_(); }
  void OnOK() override { promise_.Resolve(answer_(Env())); }

 private:
  Napi::Promise::Deferred promise_;
  Job job_;
  Answer answer_;
};

Napi::Value queue(const Napi::CallbackInfo& info, Job job) {
  // Deletes itself when it has answered.
  auto work = std::make_unique<Work>(info.Env(), std::move(job));
  const Napi::Promise promise = work->promise();
  work.release()->Queue();
  return promise;
}

std::string textOf(const Napi::Value& value) {
  return value.As<Napi::String>().Utf8Value();
}

/** ruleSocket() -> descriptor for netRules */
Napi::Value ruleSocket(const Napi::CallbackInfo& info) {
  Result<Fd> socket = net::openSocket(net::Protocol::netfilter, -1);
  if (!socket.ok()) return failed(info.Env(), "rules", socket.error());
  return succeeded(info.Env(), Napi::Number::New(info.Env(), socket.value().release()));
}

/** netRules(socket, json) -> undefined; one transaction */
Napi::Value rules(const Napi::CallbackInfo& info) {
  return queue(info, [socket = integer(info[0]), json = textOf(info[1])]() -> Answer {
    net::Batch batch;
    net::RequestError wrong;
    if (!net::encodeRules(json, &batch, &wrong)) {
      return refuse("rules" + wrong.pointer, failure("encode", EINVAL, wrong.message));
    }
    net::Refused refused;
    if (!net::transact(socket, batch, &refused)) return refuse("rules/" + std::to_string(refused.index), refused.error);
    return [](Napi::Env env) { return succeeded(env, env.Undefined()); };
  });
}

/** Operations in one network namespace, -1 being this process's. */
struct RoutePart {
  int space;
  std::string json;
};

struct RouteFailure {
  std::string step;
  Error error;
};

std::optional<RouteFailure> applyPart(const RoutePart& part) {
  net::Batch batch;
  net::RequestError wrong;
  if (!net::encodeRoute(part.json, &batch, &wrong)) {
    return RouteFailure{"network" + wrong.pointer, failure("encode", EINVAL, wrong.message)};
  }
  Result<Fd> socket = net::openSocket(net::Protocol::route, part.space);
  if (!socket.ok()) return RouteFailure{"network", socket.error()};
  net::Refused refused;
  if (net::transact(socket.value().get(), batch, &refused)) return std::nullopt;
  return RouteFailure{"network/" + std::to_string(refused.index), refused.error};
}

std::vector<RoutePart> partsOf(const Napi::Value& plan) {
  const auto list = plan.As<Napi::Array>();
  std::vector<RoutePart> parts;
  for (uint32_t index = 0; index < list.Length(); ++index) {
    const auto part = list.Get(index).As<Napi::Object>();
    parts.push_back({integer(part.Get("space")), textOf(part.Get("json"))});
  }
  return parts;
}

/** netRoute({ space, json }[][]) -> a result for each plan; one that fails stops at that part, the others go on */
Napi::Value route(const Napi::CallbackInfo& info) {
  const auto list = info[0].As<Napi::Array>();
  std::vector<std::vector<RoutePart>> plans;
  for (uint32_t index = 0; index < list.Length(); ++index) plans.push_back(partsOf(list.Get(index)));
  return queue(info, [plans = std::move(plans)]() -> Answer {
    std::vector<std::optional<RouteFailure>> failures;
    for (const std::vector<RoutePart>& plan : plans) {
      failures.emplace_back();
      for (size_t at = 0; at < plan.size() && !failures.back().has_value(); ++at) failures.back() = applyPart(plan[at]);
    }
    return [failures = std::move(failures)](Napi::Env env) -> Napi::Value {
      Napi::Array array = Napi::Array::New(env, failures.size());
      for (uint32_t index = 0; index < failures.size(); ++index) {
        const std::optional<RouteFailure>& one = failures[index];
        array.Set(index, one.has_value() ? failed(env, one->step, one->error) : succeeded(env, env.Undefined()));
      }
      return array;
    };
  });
}

/** netLinks(space) -> Link[] */
Napi::Value links(const Napi::CallbackInfo& info) {
  return queue(info, [space = integer(info[0])]() -> Answer {
    Result<Fd> socket = net::openSocket(net::Protocol::route, space);
    if (!socket.ok()) return refuse("links", socket.error());
    Result<std::vector<net::Link>> found = net::listLinks(socket.value().get());
    if (!found.ok()) return refuse("links", found.error());
    return [list = found.take()](Napi::Env env) {
      Napi::Array array = Napi::Array::New(env, list.size());
      for (uint32_t index = 0; index < list.size(); ++index) {
        const net::Link& link = list[index];
        Napi::Object row = Napi::Object::New(env);
        row.Set("index", Napi::Number::New(env, link.index));
        row.Set("name", text(env, link.name));
        row.Set("kind", text(env, link.kind));
        row.Set("group", Napi::Number::New(env, link.group));
        row.Set("master", Napi::Number::New(env, link.master));
        row.Set("mtu", Napi::Number::New(env, link.mtu));
        row.Set("up", Napi::Boolean::New(env, link.up));
        row.Set("mac", Napi::Buffer<char>::Copy(env, link.mac.data(), link.mac.size()));
        array.Set(index, row);
      }
      return succeeded(env, array);
    };
  });
}

/** netAddresses(space) -> { index, prefix, address bytes }[] */
Napi::Value addresses(const Napi::CallbackInfo& info) {
  return queue(info, [space = integer(info[0])]() -> Answer {
    Result<Fd> socket = net::openSocket(net::Protocol::route, space);
    if (!socket.ok()) return refuse("addresses", socket.error());
    Result<std::vector<net::Address>> found = net::listAddresses(socket.value().get());
    if (!found.ok()) return refuse("addresses", found.error());
    return [list = found.take()](Napi::Env env) {
      Napi::Array array = Napi::Array::New(env, list.size());
      for (uint32_t index = 0; index < list.size(); ++index) {
        Napi::Object row = Napi::Object::New(env);
        row.Set("index", Napi::Number::New(env, list[index].index));
        row.Set("prefix", Napi::Number::New(env, list[index].prefix));
        row.Set("bytes", Napi::Buffer<char>::Copy(env, list[index].bytes.data(), list[index].bytes.size()));
        array.Set(index, row);
      }
      return succeeded(env, array);
    };
  });
}

/** netTables() -> { family, name }[] */
Napi::Value tables(const Napi::CallbackInfo& info) {
  return queue(info, []() -> Answer {
    Result<Fd> socket = net::openSocket(net::Protocol::netfilter, -1);
    if (!socket.ok()) return refuse("tables", socket.error());
    Result<std::vector<net::Table>> found = net::listTables(socket.value().get());
    if (!found.ok()) return refuse("tables", found.error());
    return [list = found.take()](Napi::Env env) {
      Napi::Array array = Napi::Array::New(env, list.size());
      for (uint32_t index = 0; index < list.size(); ++index) {
        Napi::Object row = Napi::Object::New(env);
        row.Set("family", text(env, list[index].family));
        row.Set("name", text(env, list[index].name));
        array.Set(index, row);
      }
      return succeeded(env, array);
    };
  });
}

/** netElements(family, table, set) -> key bytes[] */
Napi::Value elements(const Napi::CallbackInfo& info) {
  return queue(info, [table = net::Table{textOf(info[0]), textOf(info[1])}, set = textOf(info[2])]() -> Answer {
    Result<Fd> socket = net::openSocket(net::Protocol::netfilter, -1);
    if (!socket.ok()) return refuse("elements", socket.error());
    Result<std::vector<std::string>> found = net::listElements(socket.value().get(), table, set);
    if (!found.ok()) return refuse("elements", found.error());
    return [list = found.take()](Napi::Env env) {
      Napi::Array array = Napi::Array::New(env, list.size());
      for (uint32_t index = 0; index < list.size(); ++index) {
        array.Set(index, Napi::Buffer<char>::Copy(env, list[index].data(), list[index].size()));
      }
      return succeeded(env, array);
    };
  });
}

/** holdPort(protocol, address, port) -> descriptor */
Napi::Value holdPort(const Napi::CallbackInfo& info) {
  Result<Fd> held = net::holdPort(textOf(info[0]) == "udp", textOf(info[1]), static_cast<uint16_t>(integer(info[2])));
  if (!held.ok()) return failed(info.Env(), "port", held.error());
  return succeeded(info.Env(), Napi::Number::New(info.Env(), held.value().release()));
}

Result<Fd> lockWhole(const std::string& path, int command) {
  Result<Fd> file = sys::openAt(AT_FDCWD, path.c_str(), O_RDWR | O_CREAT, 0600);
  if (!file.ok()) return file;
  struct flock whole = {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  // Of the open file, not of the process: every caller in one process waits its turn too.
  if (sys::retry([&] { return fcntl(file.value().get(), command, &whole); }) < 0) return failure("lock", errno, path);
  return file;
}

/** lockFile(path) -> descriptor that holds the lock until it is closed; waits for whoever has it */
Napi::Value lockFile(const Napi::CallbackInfo& info) {
  // Most often nobody has it, and a thread of the pool would take longer to wake than the lock to take.
  Result<Fd> free = lockWhole(textOf(info[0]), F_OFD_SETLK);
  if (free.ok()) {
    const auto deferred = Napi::Promise::Deferred::New(info.Env());
    deferred.Resolve(succeeded(info.Env(), Napi::Number::New(info.Env(), free.value().release())));
    return deferred.Promise();
  }
  return queue(info, [path = textOf(info[0])]() -> Answer {
    Result<Fd> file = lockWhole(path, F_OFD_SETLKW);
    if (!file.ok()) return refuse("lock", file.error());
    const int fd = file.value().release();
    return [fd](Napi::Env env) { return succeeded(env, Napi::Number::New(env, fd)); };
  });
}

/** openSpace(path) -> descriptor of a namespace */
Napi::Value openSpace(const Napi::CallbackInfo& info) {
  Result<Fd> file = sys::openAt(AT_FDCWD, textOf(info[0]).c_str(), O_RDONLY);
  if (!file.ok()) return failed(info.Env(), "network namespace", file.error());
  return succeeded(info.Env(), Napi::Number::New(info.Env(), file.value().release()));
}

/** openTap(name, index) -> descriptor of a tap device */
Napi::Value openTap(const Napi::CallbackInfo& info) {
  const auto index = info[1].As<Napi::Number>().Uint32Value();
  Result<Fd> tap = net::openTap(textOf(info[0]), index);
  if (!tap.ok()) return failed(info.Env(), "network card", tap.error());
  return succeeded(info.Env(), Napi::Number::New(info.Env(), tap.value().release()));
}

}  // namespace

void registerNetwork(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("ruleSocket", ruleSocket);
  add("netRules", rules);
  add("netRoute", route);
  add("netLinks", links);
  add("netAddresses", addresses);
  add("netTables", tables);
  add("netElements", elements);
  add("holdPort", holdPort);
  add("lockFile", lockFile);
  add("openSpace", openSpace);
  add("openTap", openTap);
}

}  // namespace bulkhead::binding
