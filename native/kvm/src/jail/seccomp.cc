#include "jail/seccomp.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <vector>

namespace bulkhead::vm {
namespace {

constexpr uint32_t kNumber = offsetof(struct seccomp_data, nr);
constexpr uint32_t kArchitecture = offsetof(struct seccomp_data, arch);

/** Little-endian: the lower half is where the argument is. */
constexpr uint32_t argumentAt(uint8_t index) {
  return offsetof(struct seccomp_data, args) + index * sizeof(uint64_t);
}

class Filter {
 public:
  void load(uint32_t offset) { code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)); }
  void answer(uint32_t action) { code_.push_back(BPF_STMT(BPF_RET | BPF_K, action)); }
  /** Jumps count instructions that follow. */
  void test(uint16_t comparison, uint32_t value, uint8_t ifTrue, uint8_t ifFalse) {
    code_.push_back(BPF_JUMP(static_cast<uint16_t>(BPF_JMP | comparison | BPF_K), value, ifTrue, ifFalse));
  }

  void allow(const AllowedCall& call) {
    const Condition& condition = call.condition;
    if (condition.kind == Condition::Kind::none) {
      test(BPF_JEQ, call.number, 0, 1);
      answer(SECCOMP_RET_ALLOW);
      return;
    }
    const bool equals = condition.kind == Condition::Kind::equals;
    test(BPF_JEQ, call.number, 0, 4);
    load(argumentAt(condition.argument));
    test(equals ? BPF_JEQ : BPF_JSET, condition.value, equals ? 0 : 1, equals ? 1 : 0);
    answer(SECCOMP_RET_ALLOW);
    // The next entry looks at the number again.
    load(kNumber);
  }

  Status install() {
    struct sock_fprog program = {static_cast<unsigned short>(code_.size()), code_.data()};
    if (code_.size() > BPF_MAXINSNS) return failure("seccomp", E2BIG);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) return failure("seccomp", errno);
    return Done{};
  }

 private:
  std::vector<struct sock_filter> code_;
};

}  // namespace

Status allowOnly(Span<const AllowedCall> calls) {
  Filter filter;
  filter.load(kArchitecture);
  filter.test(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0);
  filter.answer(SECCOMP_RET_KILL_PROCESS);
  // Numbers of x32 have a bit of their own and so are none of the list.
  filter.load(kNumber);
  for (const AllowedCall& call : calls) filter.allow(call);
  filter.answer(SECCOMP_RET_KILL_PROCESS);
  return filter.install();
}

}  // namespace bulkhead::vm
