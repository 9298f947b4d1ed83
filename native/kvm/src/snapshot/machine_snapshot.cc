// A machine to frames, and two files to a machine.
#include <sys/random.h>

#include <cerrno>

#include "events/clock.h"
#include "machine/machine.h"
#include "memory/layout.h"
#include "snapshot/machine_state.h"
#include "snapshot/state_file.h"

namespace bulkhead::vm {
namespace {

Result<SnapshotId> freshId() {
  SnapshotId id;
  if (getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size())) return failure("getrandom", errno);
  return id;
}

}  // namespace

Result<SnapshotReport> Machine::save(const FrameSender& to) {
  for (const auto& transport : transports_) {
    if (transport->isServedElsewhere()) return failure("snapshot", EOPNOTSUPP, "files that another process serves");
  }
  const uint64_t began = monotonicNs();
  MachineState state;
  state.id = TRY(freshId());
  state.memoryBytes = memory_.sizeBytes();
  state.interpreted = interpreted_;
  state.cpuid = cpuid_;
  // Devices first: what they finish changes memory and raises interrupts.
  for (const auto& transport : transports_) state.devices.push_back({transport->kind(), transport->save()});
  state.serial = serial_->save();
  Lacking lacking;
  for (size_t index = 0; index < cpus_->count(); ++index) {
    state.vcpus.push_back(TRY(VcpuState::save(cpus_->vcpu(index), shape_, &lacking)));
  }
  state.vm = TRY(VmState::save(vm_));
  const std::string sealed = state.seal();
  TRY(saveMemory(memory_, state.id, to));
  // What its image has lost meanwhile reads as zeros.
  if (ending_.outcome() != Outcome::running) return failure("the machine has ended", ESRCH);
  // Last: a state file that is whole has its memory.
  TRY(to.state(sealed));
  SnapshotReport report;
  report.stateBytes = sealed.size();
  report.memoryBytes = memory_.sizeBytes();
  report.durationNs = monotonicNs() - began;
  report.lacking = lacking.names();
  return report;
}

Result<std::unique_ptr<Machine>> Machine::restore(const MachineOptions& options, MachineFiles files,
                                                  const SnapshotFiles& from) {
  Phases phases = options.phases;
  phases.begin("state");
  // All of what it says is looked at before anything is made of it.
  const std::string file = TRY(readState(from.state.get()));
  const MachineState state = TRY(MachineState::open(file));
  if (state.devices.size() != files.devices.size()) {
    return failure("snapshot", EINVAL, "its machine has another number of devices");
  }
  for (size_t index = 0; index < state.devices.size(); ++index) {
    if (state.devices[index].kind != files.devices[index]->kind()) {
      return failure("snapshot", EINVAL, "its machine has other devices, or in another order");
    }
  }
  MachineOptions wanted = options;
  wanted.cpus = static_cast<uint32_t>(state.vcpus.size());
  wanted.memory.sizeBytes = state.memoryBytes;
  wanted.interpreted = state.interpreted;
  TRY(check(wanted));
  phases.begin("memory");
  const KvmSystem system = TRY(KvmSystem::use(std::move(files.kvm)));
  auto machine = TRY(assemble(wanted, TRY(openMemory(from.memory, state.id, wanted.memory)), system, phases, &files));
  TRY(machine->resumeFrom(state, wanted, system));
  return machine;
}

Status Machine::resumeFrom(const MachineState& state, const MachineOptions& options, const KvmSystem& system) {
  phases_.begin("processors");
  const auto supported = withCachesOf(TRY(system.supportedCpuid()), state.cpuid);
  std::vector<Vcpu> vcpus = TRY(makeProcessors(options, system, supported));
  if (!isSameButForCaches(cpuid_, state.cpuid)) {
    return failure("snapshot", ENOTSUP, "it was taken on a host with another processor or another KVM");
  }
  for (size_t index = 0; index < vcpus.size(); ++index) TRY(state.vcpus[index].restore(vcpus[index], shape_));
  cpus_ = std::make_unique<Cpus>(std::move(vcpus), Surroundings{&ports_, &devices_, &ending_}, options.pinned);
  TRY(state.vm.restore(vm_));
  for (size_t index = 0; index < transports_.size(); ++index) TRY(transports_[index]->load(state.devices[index].bytes));
  if (!serial_->load(state.serial)) return failure("state file", EBADMSG, "a serial port's state");
  TRY(renewGeneration());
  // Interrupts arrive from here on.
  generationInterrupt_.signal();
  for (const auto& transport : transports_) transport->wake();
  return Done{};
}

Status Machine::renewGeneration() {
  if (!memory_.write(layout::kGenerationId, TRY(freshId()))) return failure("guest memory", ENOMEM, "generation id");
  return Done{};
}

}  // namespace bulkhead::vm
