#include "machine/cpus.h"

#include <signal.h>

#include <cerrno>
#include <string>
#include <utility>

#include "machine/affinity.h"

namespace bulkhead::vm {
namespace {

/** Sent to a vCPU's thread so that it leaves the guest; its handler does nothing. */
int kickSignal() {
  return SIGRTMIN;
}

void ignoreKick(int) {}

void increment(std::atomic<uint64_t>* counter) {
  // One writer, its own thread.
  counter->store(counter->load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

/**
 * So many accesses one instruction has at most when it is interrupted: KVM leaves a repeated one after 1024 turns, each
 * of which may read and write across the end of a page.
 */
constexpr int kMaxAccesses = 4 * 1024;

/** How this process takes signals, once there are threads of a machine in it. */
Status prepareSignals() {
  // Whoever read a guest's output may go away; that is a failed write, and no end of the machine.
  if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) return failure("signal", errno, "SIGPIPE");
  struct sigaction action = {};
  // No SA_RESTART: KVM_RUN has to return.
  action.sa_handler = ignoreKick;
  sigemptyset(&action.sa_mask);
  if (sigaction(kickSignal(), &action, nullptr) != 0) return failure("sigaction", errno);
  return Done{};
}

}  // namespace

Cpus::Cpus(std::vector<Vcpu> vcpus, const Surroundings& surroundings, std::vector<uint32_t> pinned)
    : surroundings_(surroundings), pinned_(std::move(pinned)) {
  for (Vcpu& vcpu : vcpus) slots_.push_back(std::make_unique<Slot>(std::move(vcpu), this, slots_.size()));
}

Status Cpus::start(Confine confine) {
  TRY(prepareSignals());
  confine_ = std::move(confine);
  for (size_t index = 0; index < slots_.size(); ++index) {
    Slot* slot = slots_[index].get();
    {
      const std::lock_guard guard(lock_);
      const int err = pthread_create(&slot->thread, nullptr, enter, slot);
      if (err != 0) return failure("pthread_create", err, "vCPU");
      slot->started = true;
    }
    // It waits, so that nothing of the guest runs where it should not.
    if (!pinned_.empty()) TRY(runOn(slot->thread, {pinned_[index]}));
  }
  return Done{};
}

void Cpus::open() {
  if (!opened_.exchange(true)) gate_.count_down();
}

void Cpus::finish() {
  want(Want::end);
  open();
  for (const auto& slot : slots_) {
    if (std::exchange(slot->started, false)) pthread_join(slot->thread, nullptr);
  }
}

void Cpus::pause() {
  want(Want::pause);
  std::unique_lock guard(lock_);
  // All of them, whichever of their threads are there yet.
  changed_.wait(guard, [&] { return want_ == Want::end || resting_ == slots_.size(); });
}

void Cpus::resume() {
  want(Want::run);
}

ExitCounts Cpus::exits() const {
  ExitCounts sum;
  for (const auto& slot : slots_) {
    sum.portReads += slot->portReads;
    sum.portWrites += slot->portWrites;
    sum.memoryReads += slot->memoryReads;
    sum.memoryWrites += slot->memoryWrites;
    sum.unclaimed += slot->unclaimed;
  }
  return sum;
}

std::optional<uint64_t> Cpus::hypercalls() const {
  uint64_t sum = 0;
  for (const auto& slot : slots_) {
    const auto counted = slot->vcpu.hypercalls();
    if (!counted.has_value()) return std::nullopt;
    sum += *counted;
  }
  return sum;
}

/**
 * The order that leaves no gap: first the wish, then the flag that ends KVM_RUN at once, then the signal that ends one
 * under way. A thread clears the flag before it looks at the wish, so it either sees the wish or runs into the flag.
 */
void Cpus::want(Want wanted) {
  const std::lock_guard guard(lock_);
  if (want_ == Want::end) return;
  want_ = wanted;
  changed_.notify_all();
  if (wanted == Want::run) return;
  for (const auto& slot : slots_) {
    slot->vcpu.interrupt();
    if (slot->started) pthread_kill(slot->thread, kickSignal());
  }
}

void* Cpus::enter(void* argument) {
  auto* slot = static_cast<Slot*>(argument);
  // By itself: another thread's name is a file, which a confined process does not open.
  FixedText<16> name("vcpu ");
  name.append(std::to_string(slot->number));
  pthread_setname_np(pthread_self(), name.c_str());
  Status confined = slot->owner->confine_ ? slot->owner->confine_(ThreadKind::processor) : Status(Done{});
  slot->owner->gate_.wait();
  if (confined.ok()) {
    slot->owner->loop(slot);
  } else {
    slot->owner->surroundings_.ending->end(Outcome::cpuFailed, static_cast<uint64_t>(confined.error().err));
  }
  const std::lock_guard guard(slot->owner->lock_);
  ++slot->owner->resting_;
  slot->owner->changed_.notify_all();
  return nullptr;
}

void Cpus::loop(Slot* slot) {
  while (proceed(slot)) {
    const auto ran = slot->vcpu.run();
    if (ran.ok()) {
      handle(slot);
      continue;
    }
    const int err = ran.error().err;
    // EAGAIN: an application processor was woken without having been started yet.
    if (err == EINTR || err == EAGAIN) continue;
    surroundings_.ending->end(Outcome::cpuFailed, static_cast<uint64_t>(err));
    return;
  }
}

/** Waits while the machine is paused. False when it is over. */
bool Cpus::proceed(Slot* slot) {
  for (;;) {
    slot->vcpu.allow();
    const Want wanted = want_;
    if (wanted == Want::pause) {
      rest(slot);
    } else {
      return wanted == Want::run && surroundings_.ending->outcome() == Outcome::running;
    }
  }
}

void Cpus::rest(Slot* slot) {
  settle(slot);
  std::unique_lock guard(lock_);
  ++resting_;
  changed_.notify_all();
  changed_.wait(guard, [&] { return want_ != Want::pause; });
  --resting_;
  guard.unlock();
  slot->vcpu.tellPaused();
}

/** Carries out the rest of an instruction that KVM has left in its middle, access by access. */
void Cpus::settle(Slot* slot) {
  for (int accesses = 0; surroundings_.ending->outcome() == Outcome::running; ++accesses) {
    auto whole = slot->vcpu.settle();
    // Nothing to be done about a failure here: the next run tells it.
    if (!whole.ok() || whole.value()) return;
    if (accesses == kMaxAccesses) return surroundings_.ending->end(Outcome::cpuFailed, EOVERFLOW);
    handle(slot);
  }
}

void Cpus::handle(Slot* slot) {
  const kvm_run& run = slot->vcpu.shared();
  switch (run.exit_reason) {
    case KVM_EXIT_IO:
      return handlePort(slot);
    case KVM_EXIT_MMIO:
      return handleMemory(slot);
    case KVM_EXIT_INTR:
    case KVM_EXIT_HLT:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return;
    case KVM_EXIT_SHUTDOWN:
      return surroundings_.ending->end(Outcome::tripleFault);
    case KVM_EXIT_SYSTEM_EVENT:
      return surroundings_.ending->end(run.system_event.type == KVM_SYSTEM_EVENT_RESET ? Outcome::reset
                                                                                       : Outcome::poweredOff);
    case KVM_EXIT_INTERNAL_ERROR:
      return surroundings_.ending->end(Outcome::notEmulated, run.internal.suberror);
    case KVM_EXIT_FAIL_ENTRY:
      return surroundings_.ending->end(Outcome::cpuFailed, run.fail_entry.hardware_entry_failure_reason);
    default:
      return surroundings_.ending->end(Outcome::cpuFailed, run.exit_reason);
  }
}

void Cpus::handlePort(Slot* slot) {
  kvm_run& run = slot->vcpu.shared();
  const auto& io = run.io;
  // One exit may carry a whole string instruction. KVM keeps the data inside the shared pages; it is looked at again.
  const uint64_t bytes = uint64_t{io.size} * io.count;
  if (io.size > 4 || io.data_offset > slot->vcpu.sharedBytes() || bytes > slot->vcpu.sharedBytes() - io.data_offset) {
    return surroundings_.ending->end(Outcome::cpuFailed, KVM_EXIT_IO);
  }
  uint8_t* data = reinterpret_cast<uint8_t*>(&run) + io.data_offset;
  const bool in = io.direction == KVM_EXIT_IO_IN;
  increment(in ? &slot->portReads : &slot->portWrites);
  for (uint32_t index = 0; index < io.count; ++index, data += io.size) {
    const bool claimed =
        in ? surroundings_.ports->read(io.port, data, io.size) : surroundings_.ports->write(io.port, data, io.size);
    if (!claimed) increment(&slot->unclaimed);
  }
}

void Cpus::handleMemory(Slot* slot) {
  auto& access = slot->vcpu.shared().mmio;
  increment(access.is_write != 0 ? &slot->memoryWrites : &slot->memoryReads);
  const bool claimed = access.len <= sizeof access.data &&
                       (access.is_write != 0 ? surroundings_.memory->write(access.phys_addr, access.data, access.len)
                                             : surroundings_.memory->read(access.phys_addr, access.data, access.len));
  if (!claimed) increment(&slot->unclaimed);
}

}  // namespace bulkhead::vm
