// `linux.seccomp` to the plan's program, through the cache.
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "plan/compile.h"
#include "seccomp/compile.h"

namespace bulkhead::plan {

namespace {

std::string textOf(const View& profile) {
  rapidjson::StringBuffer text;
  rapidjson::Writer<rapidjson::StringBuffer> writer(text);
  profile.value().Accept(writer);
  return {text.GetString(), text.GetSize()};
}

}  // namespace

bool compileSeccomp(Context* context, const View& profile, const View& named, seccomp::Cache* cache, Process* target) {
  if (!profile.present() && !named.present()) return true;
  if (named.present() && !named.isString()) return context->fail(named, "must be a string");
  const std::string key = named.present() ? std::string(named.text()) : textOf(profile);
  const seccomp::Program* program = cache == nullptr ? nullptr : cache->find(key);
  if (program == nullptr && !profile.present()) return context->fail(named, "is the name of no profile seen before");
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
