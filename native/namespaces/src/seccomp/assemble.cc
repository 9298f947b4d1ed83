#include <linux/audit.h>
#include <linux/seccomp.h>

#include <cerrno>
#include <cstddef>

#include "seccomp/diagram.h"

namespace bulkhead::seccomp {
namespace {

NodeId buildArch(Diagram* diagram, const ArchRules& arch, uint32_t defaultAction) {
  std::vector<std::vector<Rule>> byNumber(highestNumber(arch) + 1);
  for (const Rule& rule : arch.rules) byNumber[rule.number].push_back(rule);
  std::vector<Run> runs;
  runs.reserve(byNumber.size() + 1);
  for (const std::vector<Rule>& rules : byNumber) {
    const NodeId target = buildArguments(diagram, decide(rules, defaultAction), arch.arch);
    runs.push_back({static_cast<uint32_t>(runs.size()), target});
  }
  const NodeId beyond = diagram->action(unknownAction(defaultAction));
  runs.push_back({static_cast<uint32_t>(runs.size()), beyond});
  const NodeId root = buildSearch(diagram, offsetof(struct seccomp_data, nr), runs);
  const NodeId missing = diagram->action(uint32_t{SECCOMP_RET_ERRNO} | ENOSYS);
  if (arch.arch != Arch::x86_64 || beyond == missing) return root;
  Node x32;
  x32.word = offsetof(struct seccomp_data, nr);
  x32.test = Test::atLeast;
  x32.operand = kX32Bit;
  x32.onTrue = missing;
  x32.onFalse = root;
  return diagram->test(x32);
}

}  // namespace

std::vector<Instruction> assemble(const Profile& profile) {
  Diagram diagram;
  NodeId root = diagram.action(SECCOMP_RET_KILL_PROCESS);
  // The first architecture is the native one and is asked about first.
  for (auto arch = profile.archs.rbegin(); arch != profile.archs.rend(); ++arch) {
    Node test;
    test.word = offsetof(struct seccomp_data, arch);
    test.operand = arch->arch == Arch::x86_64 ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_I386;
    test.onTrue = buildArch(&diagram, *arch, profile.defaultAction);
    test.onFalse = root;
    root = diagram.test(test);
  }
  return emit(diagram, root);
}

}  // namespace bulkhead::seccomp
