// Starts bulkhead-reach from JavaScript. It stays in the host's pid namespace, where no container sees its executable,
// so unlike init it is run from its file.
#include <fcntl.h>
#include <napi.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>

#include <cerrno>

#include "init/report.h"
#include "sys/syscalls.h"
#include "values.h"

namespace bulkhead::binding {
namespace {

// Sources are duplicated above every number that posix_spawn fills, so that no copy overwrites another's source.
constexpr int kFirstFree = 16;

Result<Fd> requestFile(std::string_view bytes) {
  Fd file = TRY(sys::memoryFile("bulkhead-request", MFD_ALLOW_SEALING));
  TRY(sys::writeAll(file.get(), bytes.data(), bytes.size()));
  if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
    return failure("fcntl F_ADD_SEALS", errno);
  }
  return sys::duplicate(file.get(), kFirstFree);
}

/** The program with the answer's pipe as its output, as a child of this process: its pidfd. */
Result<Fd> spawnReach(const char* path, const char* verb, std::string_view bytes, int output) {
  Fd request = TRY(requestFile(bytes));
  Fd out = TRY(sys::duplicate(output, kFirstFree));
  Fd null = TRY(sys::openAt(AT_FDCWD, "/dev/null", O_RDWR));
  Fd nothing = TRY(sys::duplicate(null.get(), kFirstFree));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, nothing.get(), 0);
  posix_spawn_file_actions_adddup2(&actions, out.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, nothing.get(), 2);
  posix_spawn_file_actions_adddup2(&actions, request.get(), init::kPlanFd);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t all;
  sigset_t none;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
  char name[] = "bulkhead-reach";
  char* arguments[] = {name, const_cast<char*>(verb), nullptr};
  char* environment[] = {nullptr};
  pid_t pid = 0;
  // posix_spawn shares memory with the child until it execs: no page tables are copied.
  const int err = posix_spawn(&pid, path, &actions, &attributes, arguments, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (err != 0) return failure("posix_spawn", err, path);
  // Not reaped yet by anyone but us, so the number still means this process.
  return sys::openPid(pid);
}

/** reach(path, verb, request, output) -> pidfd */
Napi::Value reach(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const std::string path = info[0].As<Napi::String>().Utf8Value();
  const std::string verb = info[1].As<Napi::String>().Utf8Value();
  const Napi::Uint8Array bytes = info[2].As<Napi::Uint8Array>();
  Result<Fd> spawned = spawnReach(path.c_str(), verb.c_str(),
                                  {reinterpret_cast<const char*>(bytes.Data()), bytes.ByteLength()}, integer(info[3]));
  if (!spawned.ok()) return failed(env, "spawn", spawned.error());
  return succeeded(env, Napi::Number::New(env, spawned.value().release()));
}

}  // namespace

void registerReach(Napi::Env env, Napi::Object exports) {
  exports.Set("reach", Napi::Function::New(env, reach, "reach"));
}

}  // namespace bulkhead::binding
