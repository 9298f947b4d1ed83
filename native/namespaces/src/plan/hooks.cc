// The `hooks` object of the specification.
#include "plan/compile.h"

namespace bulkhead::plan {
namespace {

bool compileHook(Context* context, const View& entry, Hook* hook) {
  if (!entry.isObject()) return context->fail(entry, "must be an object");
  const View timeout = entry.member("timeout");
  if (!context->absolutePath(entry.member("path"), &hook->path) ||
      !context->texts(entry.member("args"), &hook->arguments) ||
      !context->texts(entry.member("env"), &hook->environment) ||
      !context->unsigned32(timeout, &hook->timeoutSeconds)) {
    return false;
  }
  // A day is longer than anybody waits for a container, and its milliseconds fit poll(2).
  constexpr uint32_t kMaxSeconds = 86'400;
  if (timeout.present() && (hook->timeoutSeconds == 0 || hook->timeoutSeconds > kMaxSeconds)) {
    return context->fail(timeout, "must be from 1 to 86400");
  }
  return true;
}

}  // namespace

bool compileHooks(Context* context, const View& hooks, const char* moment, Span<Hook>* target) {
  if (!context->object(hooks)) return false;
  const View list = hooks.member(moment);
  if (!context->array(list)) return false;
  std::vector<Hook> compiled(list.count());
  for (uint32_t index = 0; index < list.count(); ++index) {
    if (!compileHook(context, list.element(index), &compiled[index])) return false;
  }
  return context->store(list, compiled, target);
}

}  // namespace bulkhead::plan
