#include "machine/self_test.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <cerrno>

#include "boot/tiny_image.h"
#include "machine/machine.h"
#include "memory/layout.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

extern "C" const char bulkheadSelfTestGuest[];
extern "C" const char bulkheadSelfTestGuestEnd[];

namespace bulkhead::vm {
namespace {

constexpr time_t kDeadlineSeconds = 1;
/** Of the loop between the guest's first two reports: decl and jnz, as often as self_test_guest.S says. */
constexpr uint64_t kLoopInstructions = 2 * 2000;
/** An interpreter takes about 600 ns, hardware less than 1; even hardware that is itself emulated stays below 100. */
constexpr uint64_t kInterpretedPicoseconds = 200'000;

/** What the guest reports after the loop, before it tries instructions. */
constexpr uint8_t kLooped = 2;

/** A guest that lost its processor for a millisecond looks like an interpreted one, so what took too long is tried
 * again. */
constexpr int kRounds = 5;

/** Ends a machine that takes too long. */
class Deadline : public Readiness {
 public:
  static Status set(Deadline* deadline, Machine* machine) {
    deadline->machine_ = machine;
    deadline->timer_ =
        TRY(sys::opened("timerfd_create", [] { return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK); }));
    const struct itimerspec when = {{0, 0}, {kDeadlineSeconds, 0}};
    TRY(sys::check("timerfd_settime", [&] { return timerfd_settime(deadline->timer_.get(), 0, &when, nullptr); }));
    return machine->loop().watch(deadline->timer_.get(), EPOLLIN, machine->loop().admit(deadline), 0);
  }
  void onReady(uint64_t, uint32_t) override { machine_->stop(); }

 private:
  Machine* machine_ = nullptr;
  Fd timer_;
};

void judge(const Machine& machine, Outcome outcome, SelfTest* test) {
  const ProgressPort& progress = machine.progress();
  test->level = KvmLevel::emulated;
  if (outcome == Outcome::notEmulated && progress.last() >= kLooped) {
    test->reason = progress.last() == kLooped ? KvmReason::noCmpxchg16b : KvmReason::noXrstor;
  } else if (outcome != Outcome::poweredOff) {
    test->level = KvmLevel::none;
    test->reason = KvmReason::guestFailed;
  } else if (test->picosecondsPerInstruction > kInterpretedPicoseconds) {
    test->reason = KvmReason::kernelCodeInterpreted;
  } else {
    test->level = KvmLevel::kvm;
  }
}

Status runGuest(Fd kvm, SelfTest* test) {
  const std::string image = tinyImage({bulkheadSelfTestGuest, bulkheadSelfTestGuestEnd});
  const BytesSource source(image);
  MachineOptions options;
  options.memory.sizeBytes = 2 * layout::kMiB;
  MachineFiles files;
  files.kvm = std::move(kvm);
  files.kernel = &source;
  files.serialOutput = TRY(sys::openAt(AT_FDCWD, "/dev/null", O_WRONLY));
  const auto machine = TRY(Machine::create(options, std::move(files)));
  Deadline deadline;
  TRY(Deadline::set(&deadline, machine.get()));
  const Outcome outcome = TRY(machine->run());
  const auto& progress = machine->progress();
  if (progress.secondAt() != 0) {
    test->picosecondsPerInstruction = (progress.secondAt() - progress.firstAt()) * 1000 / kLoopInstructions;
  }
  judge(*machine, outcome, test);
  return Done{};
}

}  // namespace

const char* nameOf(KvmLevel level) {
  switch (level) {
    case KvmLevel::kvm:
      return "kvm";
    case KvmLevel::emulated:
      return "kvm-emulated";
    case KvmLevel::none:
      return "none";
  }
  return "none";
}

const char* nameOf(KvmReason reason) {
  switch (reason) {
    case KvmReason::ok:
      return "ok";
    case KvmReason::unusable:
      return "unusable";
    case KvmReason::guestFailed:
      return "guest-failed";
    case KvmReason::kernelCodeInterpreted:
      return "kernel-code-interpreted";
    case KvmReason::noCmpxchg16b:
      return "no-cmpxchg16b";
    case KvmReason::noXrstor:
      return "no-xrstor";
  }
  return "unusable";
}

SelfTest selfTest(Fd kvm) {
  SelfTest test;
  for (int round = 0; round < kRounds; ++round) {
    test = SelfTest();
    test.virtualization = hostHasVirtualization();
    auto again = sys::duplicate(kvm.get(), 3);
    const auto ran = again.ok() ? runGuest(again.take(), &test) : Status(again.error());
    if (!ran.ok()) {
      test.level = KvmLevel::none;
      test.reason = KvmReason::unusable;
      test.error = ran.error();
    }
    if (test.reason != KvmReason::kernelCodeInterpreted && test.reason != KvmReason::guestFailed) break;
  }
  return test;
}

}  // namespace bulkhead::vm
