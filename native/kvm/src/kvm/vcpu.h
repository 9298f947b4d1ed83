// One virtual processor inside KVM.
#pragma once

#include <linux/kvm.h>

#include <vector>

#include "kvm/statistics.h"
#include "memory/mapping.h"
#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::vm {

/** Where a machine's first processor begins. */
struct EntryState {
  kvm_regs registers = {};
  kvm_sregs special = {};
};

/** A vCPU and the area it shares with this process. Its calls belong to the one thread that runs it. */
class Vcpu {
 public:
  static Result<Vcpu> map(Fd fd, size_t sharedBytes);

  /** First of all: what later calls mean depends on the processor that the guest sees. */
  Status setCpuid(const std::vector<kvm_cpuid_entry2>& entries) const;
  /** Model-specific registers, x87 and SSE control words and interrupt pins as after a reset by firmware. */
  Status reset() const;
  /** The state that KVM gave the vCPU, to build an entry state on. */
  Result<EntryState> state() const;
  Status setState(const EntryState& state) const;

  /** Until the next exit; EINTR after `interrupt` or a signal. */
  Status run() const;
  /**
   * Completes the access that the last exit was about without running the guest. True: its registers are whole; false:
   * the same instruction has another access, an exit as those of `run`.
   */
  Result<bool> settle() const;
  /** Tells a guest that uses kvmclock that it was stopped, so that its watchdogs forgive the gap. */
  void tellPaused() const;
  /** From any thread: the current or the next `run` answers EINTR at once, until `allow`. A signal must follow. */
  void interrupt() const;
  void allow() const;
  /** Times that the guest asked KVM itself for something; nothing where KVM does not count them. From any thread. */
  std::optional<uint64_t> hypercalls() const { return hypercalls_.value(); }
  kvm_run& shared() const { return *shared_.at<kvm_run>(0); }
  int get() const { return fd_.get(); }
  size_t sharedBytes() const { return shared_.sizeBytes(); }

 private:
  Vcpu(Fd fd, Mapping shared) : fd_(std::move(fd)), shared_(std::move(shared)) {}

  Fd fd_;
  Mapping shared_;
  VcpuStatistic hypercalls_;
};

}  // namespace bulkhead::vm
