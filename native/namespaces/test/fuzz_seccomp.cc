// Any JSON profile: refused, or a program that the kernel's verifier would take.
#include <linux/bpf_common.h>

#include <cstdlib>

#include "seccomp/compile.h"

namespace {

/** The checks of bpf_check_classic and seccomp_check_filter that matter to what we emit. */
void verify(const std::vector<bulkhead::seccomp::Instruction>& program) {
  if (program.size() > 4096 || program.back().code != (BPF_RET | BPF_K)) abort();
  for (size_t at = 0; at < program.size(); ++at) {
    const auto& step = program[at];
    if ((step.code & 7) == BPF_JMP) {
      const size_t left = program.size() - at - 1;
      const bool always = step.code == (BPF_JMP | BPF_JA);
      if (always ? step.operand >= left : (step.jumpTrue >= left || step.jumpFalse >= left)) abort();
    }
    if ((step.code & 7) == BPF_LD && (step.operand % 4 != 0 || step.operand >= 64)) abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bulkhead;
  rapidjson::Document document;
  std::string reason;
  if (!plan::parseBounded({reinterpret_cast<const char*>(data), size}, &document, &reason)) return 0;
  Arena arena(4 << 20);
  plan::Context context(&arena);
  seccomp::Profile profile;
  std::vector<std::string> warnings;
  const plan::View root(document);
  if (!root.isObject()) return 0;
  if (!seccomp::readProfile(&context, root, &profile, &warnings)) {
    if (context.error().message.empty()) abort();
    return 0;
  }
  const auto program = seccomp::assemble(profile);
  if (!program.empty()) verify(program);
  return 0;
}
