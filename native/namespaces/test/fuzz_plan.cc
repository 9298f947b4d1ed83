// Any bytes: as a plan they decode to what encodes to the same bytes or not at all; as JSON they compile or are
// refused.
#include <cstdlib>

#include "plan/codec.h"
#include "plan/compile.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bulkhead;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  {
    Arena arena(plan::kPlanArenaBytes);
    plan::Container container;
    if (plan::decode(bytes, &arena, &container) && plan::encode(container) != bytes) abort();
  }
  {
    Arena arena(plan::kPlanArenaBytes);
    plan::Exec exec;
    if (plan::decode(bytes, &arena, &exec) && plan::encode(exec) != bytes) abort();
  }
  plan::Compiled compiled;
  plan::CompileError error;
  if (plan::compileContainer(bytes, nullptr, &compiled, &error)) {
    Arena arena(plan::kPlanArenaBytes);
    plan::Container container;
    if (!plan::decode(compiled.bytes, &arena, &container)) abort();
  } else if (error.message.empty()) {
    abort();
  }
  if (!plan::compileExec(bytes, nullptr, &compiled, &error) && error.message.empty()) abort();
  return 0;
}
