#include "oci/hooks.h"

#include <fcntl.h>
#include <unistd.h>

#include "init/hook.h"
#include "oci/document.h"
#include "plan/compile.h"

namespace bulkhead::oci {
namespace {

constexpr size_t kArenaBytes = 4 << 20;

}  // namespace

bool hooksWhileCreating(const rapidjson::Document& spec) {
  const plan::View root(spec);
  const plan::View hooks = root.member("hooks");
  for (const char* moment : {"prestart", "createRuntime", "createContainer"}) {
    if (hooks.member(moment).count() > 0) return true;
  }
  return false;
}

bool runHooksAt(Session* session, const rapidjson::Document& spec, const char* moment, const Instance& instance,
                Phase phase) {
  const plan::View root(spec);
  const plan::View list = root.member("hooks");
  if (list.member(moment).count() == 0) return true;
  Arena arena(kArenaBytes);
  plan::Context context(&arena);
  Span<plan::Hook> hooks;
  if (!plan::compileHooks(&context, list, moment, &hooks)) {
    return session->fail(context.error().pointer + " " + context.error().message);
  }
  Result<Fd> state = instance.stateFile(phase);
  if (!state.ok()) return session->fail("state for hooks", state.error());
  const std::string bundle = textMember(instance.record(), "bundle");
  Result<Fd> before = sys::openAt(AT_FDCWD, ".", O_PATH | O_DIRECTORY);
  // A bundle that is gone by the time of poststop leaves the hook where the runtime is.
  (void)!chdir(bundle.c_str());
  Status ran = init::runHooks(hooks, {state.value().get(), STDERR_FILENO});
  if (before.ok()) (void)!fchdir(before.value().get());
  return ran.ok() ? true : session->fail(std::string(moment) + " hook", ran.error());
}

}  // namespace bulkhead::oci
