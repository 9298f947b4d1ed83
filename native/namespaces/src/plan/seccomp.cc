// `linux.seccomp` to the plan's program, through the cache.
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "plan/compile.h"
#include "seccomp/compile.h"

namespace bulkhead::plan {

bool compileSeccomp(Context* context, const View& profile, seccomp::Cache* cache, Process* target) {
  if (!profile.present()) return true;
  rapidjson::StringBuffer text;
  rapidjson::Writer<rapidjson::StringBuffer> writer(text);
  profile.value().Accept(writer);
  const std::string key(text.GetString(), text.GetSize());

  const seccomp::Program* program = cache == nullptr ? nullptr : cache->find(key);
  seccomp::Program fresh;
  if (program == nullptr) {
    seccomp::Profile read;
    if (!seccomp::readProfile(context, profile, &read, &fresh.warnings)) return false;
    fresh.flags = read.flags;
    fresh.instructions = seccomp::assemble(read);
    if (fresh.instructions.empty()) return context->fail(profile, "needs more than the kernel's 4096 instructions");
    if (cache != nullptr) cache->store(key, fresh);
    program = &fresh;
  }
  for (const std::string& warning : program->warnings) context->warnText(warning);
  std::vector<BpfInstruction> instructions;
  instructions.reserve(program->instructions.size());
  for (const seccomp::Instruction& step : program->instructions) {
    instructions.push_back({step.code, step.jumpTrue, step.jumpFalse, step.operand});
  }
  target->seccomp.flags = program->flags;
  return context->store(profile, instructions, &target->seccomp.program);
}

}  // namespace bulkhead::plan
