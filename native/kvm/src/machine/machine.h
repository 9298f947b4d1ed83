// A whole machine: memory, processors, devices, and the kernel it begins with.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "boot/late_blocks.h"
#include "boot/source.h"
#include "devices/bus.h"
#include "devices/power.h"
#include "devices/serial.h"
#include "kvm/cpuid.h"
#include "kvm/vm.h"
#include "machine/cpus.h"
#include "machine/phases.h"
#include "snapshot/frame_sender.h"
#include "snapshot/snapshot_files.h"
#include "snapshot/vcpu_state.h"
#include "virtio/transport.h"

namespace bulkhead::vm {

/** Local APIC ids are bytes, of which 255 means all. */
inline constexpr uint32_t kMaxCpus = 64;

struct MachineOptions {
  uint32_t cpus = 1;
  MemoryOptions memory;
  std::string commandLine;
  /** See CpuidTemplate. */
  bool interpreted = false;
  /** The host's processors that its own are kept on, one for each; empty: wherever there is room. */
  std::vector<uint32_t> pinned;
  /** Those that the thread which moves data is kept on; empty: where it was. */
  std::vector<uint32_t> loopCpus;
  /** Called in each of its threads before any of them serves the guest. */
  Confine confine;
  /** What `Machine::phases` begins with. */
  Phases phases;
};

struct MachineFiles {
  /** /dev/kvm, open for reading and writing. */
  Fd kvm;
  const Source* kernel = nullptr;
  /** May be nullptr. */
  const Source* initramfs = nullptr;
  /** What of the two comes once the guest runs; may be nullptr. */
  std::unique_ptr<LateBlocks> late;
  /** What the guest writes to its serial port. */
  Fd serialOutput;
  /** In the order in which the guest finds them; at most layout::kMaxVirtioDevices. */
  std::vector<std::unique_ptr<Device>> devices;
};

struct SnapshotReport {
  uint64_t stateBytes = 0;
  /** The guest's; what of it is zero takes no room. */
  uint64_t memoryBytes = 0;
  uint64_t durationNs = 0;
  /** What this host's KVM could not say of the machine. */
  std::vector<std::string_view> lacking;
};

struct MachineState;

class Machine {
 public:
  /** Everything up to the first instruction, in the order that KVM needs. Nothing of the guest has run. */
  static Result<std::unique_ptr<Machine>> create(const MachineOptions& options, MachineFiles files);

  /**
   * The machine that a snapshot was taken of, at the instruction at which it was. Processors, memory and their sizes
   * are the snapshot's; devices are `files`', of the same kinds and in the same order. The files are hostile: what is
   * not a snapshot, or cannot have been one of this host's, is refused.
   * @returns EBADMSG, EINVAL or ENOTSUP and why
   */
  static Result<std::unique_ptr<Machine>> restore(const MachineOptions& options, MachineFiles files,
                                                  const SnapshotFiles& from);
  /** While it is paused, in the loop's thread. It can go on afterwards, whatever came of it. */
  Result<SnapshotReport> save(const FrameSender& to);

  /** Runs to the machine's end, which `stop` brings about too; nothing of the guest runs when it returns. */
  Result<Outcome> run();
  /** Whether its guest runs, or would if it were not paused. From any thread. */
  bool runs() const { return cpus_->isOpen() && ending_.outcome() == Outcome::running; }
  /** From any thread. */
  void stop() { ending_.end(Outcome::stopped); }
  /** From any thread but its processors'. What devices were asked for already goes on. */
  void pause() { cpus_->pause(); }
  void resume() { cpus_->resume(); }

  /** Input for the guest's serial port; answers how much was taken. */
  size_t sendSerial(const uint8_t* data, size_t size) { return serial_->receive(data, size); }
  EventLoop& loop() { return loop_; }
  const GuestMemory& memory() const { return memory_; }
  const ProgressPort& progress() const { return progress_; }
  ExitCounts exits() const { return cpus_->exits(); }
  std::optional<uint64_t> hypercalls() const { return cpus_->hypercalls(); }
  Span<const std::unique_ptr<Transport>> transports() const {
    return {transports_.data(), static_cast<uint32_t>(transports_.size())};
  }
  const std::vector<BusRange>& portRanges() const { return ports_.ranges(); }
  /** Registers of each of `transports`. */
  const std::vector<BusRange>& deviceRanges() const { return devices_.ranges(); }
  const Ending& ending() const { return ending_; }
  /** Steps of its start; the last begins when the guest may run. */
  const Phases& phases() const { return phases_; }

 private:
  Machine(GuestMemory memory, Vm vm, EventLoop loop, Ending ending, EventFd serialInterrupt,
          EventFd generationInterrupt);
  static Status check(const MachineOptions& options);
  static Result<std::unique_ptr<Machine>> assemble(const MachineOptions& options, GuestMemory memory,
                                                   const KvmSystem& system, Phases phases, MachineFiles* files);
  /** With what the guest sees of them, and nothing of what they do. */
  Result<std::vector<Vcpu>> makeProcessors(const MachineOptions& options, const KvmSystem& system,
                                           const std::vector<kvm_cpuid_entry2>& supported);
  Status resumeFrom(const MachineState& state, const MachineOptions& options, const KvmSystem& system);
  Status runToItsEnd();
  Status renewGeneration();
  Status connect(Fd serialOutput);
  Status carry(std::vector<std::unique_ptr<Device>> devices, bool locked);
  Status load(const MachineOptions& options, const MachineFiles& files, const KvmSystem& system);

  // In order of dependence: processors go first, so that nothing of the guest runs while the rest goes.
  GuestMemory memory_;
  // Whatever touches memory may wait for it, so it goes behind them.
  std::unique_ptr<LateBlocks> late_;
  Vm vm_;
  EventLoop loop_;
  Ending ending_;
  EventFd serialInterrupt_;
  EventFd generationInterrupt_;
  Bus ports_;
  Bus devices_;
  PowerPorts power_;
  KeyboardController keyboard_;
  PanicPort panic_;
  ProgressPort progress_;
  std::unique_ptr<Serial> serial_;
  std::vector<std::unique_ptr<Transport>> transports_;
  std::unique_ptr<Cpus> cpus_;
  Confine confine_;
  std::vector<uint32_t> loopCpus_;
  Phases phases_;
  // What a snapshot needs to know.
  VcpuShape shape_;
  std::vector<kvm_cpuid_entry2> cpuid_;
  bool interpreted_ = false;
};

}  // namespace bulkhead::vm
