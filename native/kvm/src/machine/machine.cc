#include "machine/machine.h"

#include <algorithm>
#include <cerrno>

#include "acpi/tables.h"
#include "boot/handover.h"
#include "boot/kernel.h"
#include "events/clock.h"
#include "machine/affinity.h"
#include "memory/layout.h"

namespace bulkhead::vm {
namespace {

/** How long the host may take for what devices have still to give to it once a machine is over. */
constexpr uint64_t kLastWordsNs = 10'000'000'000;

/** Where the guest finds a virtio device, by its number. */
AcpiDevice placeOf(uint32_t index) {
  return {static_cast<uint32_t>(layout::kVirtioMmio + index * layout::kVirtioMmioStep),
          static_cast<uint32_t>(Transport::kRegisterBytes), layout::kFirstVirtioGsi + index};
}

}  // namespace

Result<std::unique_ptr<Machine>> Machine::create(const MachineOptions& options, MachineFiles files) {
  TRY(check(options));
  Phases phases = options.phases;
  phases.begin("memory");
  const KvmSystem system = TRY(KvmSystem::use(std::move(files.kvm)));
  MemoryOptions memory = options.memory;
  memory.shared = std::any_of(files.devices.begin(), files.devices.end(),
                              [](const auto& device) { return device->servedElsewhere(); });
  auto machine = TRY(assemble(options, TRY(GuestMemory::create(memory)), system, phases, &files));
  machine->late_ = std::move(files.late);
  TRY(machine->load(options, files, system));
  return machine;
}

Status Machine::check(const MachineOptions& options) {
  if (options.cpus == 0 || options.cpus > kMaxCpus) return failure("machine", EINVAL, "it has 1 to 64 processors");
  if (!options.pinned.empty() && options.pinned.size() != options.cpus) {
    return failure("machine", EINVAL, "one of the host's processors for each of its own");
  }
  return Done{};
}

Result<std::unique_ptr<Machine>> Machine::assemble(const MachineOptions& options, GuestMemory memory,
                                                   const KvmSystem& system, Phases phases, MachineFiles* files) {
  phases.begin("virtual machine");
  Vm vm = TRY(Vm::create(system, memory));
  EventLoop loop = TRY(EventLoop::create());
  Ending ending = TRY(Ending::create());
  EventFd serialInterrupt = TRY(EventFd::create());
  EventFd generationInterrupt = TRY(EventFd::create());
  std::unique_ptr<Machine> machine(new Machine(std::move(memory), std::move(vm), std::move(loop), std::move(ending),
                                               std::move(serialInterrupt), std::move(generationInterrupt)));
  machine->phases_ = phases;
  machine->phases_.begin("devices");
  TRY(machine->connect(std::move(files->serialOutput)));
  TRY(machine->carry(std::move(files->devices), options.memory.locked));
  machine->shape_ = TRY(VcpuShape::of(system));
  machine->interpreted_ = options.interpreted;
  machine->confine_ = options.confine;
  machine->loopCpus_ = options.loopCpus;
  return machine;
}

Machine::Machine(GuestMemory memory, Vm vm, EventLoop loop, Ending ending, EventFd serialInterrupt,
                 EventFd generationInterrupt)
    : memory_(std::move(memory)),
      vm_(std::move(vm)),
      loop_(std::move(loop)),
      ending_(std::move(ending)),
      serialInterrupt_(std::move(serialInterrupt)),
      generationInterrupt_(std::move(generationInterrupt)),
      power_(&ending_),
      keyboard_(&ending_),
      panic_(&ending_) {}

Status Machine::connect(Fd serialOutput) {
  serial_ = std::make_unique<Serial>(Output(std::move(serialOutput)), &serialInterrupt_);
  TRY(vm_.addInterrupt(layout::kSerialGsi, serialInterrupt_.get()));
  TRY(vm_.addInterrupt(layout::kGenerationGsi, generationInterrupt_.get()));
  TRY(ports_.add(layout::kSerialPort, 8, serial_.get()));
  TRY(ports_.add(layout::kPowerPorts, kPowerPortCount, &power_));
  TRY(ports_.add(KeyboardController::kPort, KeyboardController::kPorts, &keyboard_));
  TRY(ports_.add(layout::kPanicPort, 1, &panic_));
  return ports_.add(ProgressPort::kPort, 1, &progress_);
}

Status Machine::carry(std::vector<std::unique_ptr<Device>> devices, bool locked) {
  if (devices.size() > layout::kMaxVirtioDevices) return failure("machine", E2BIG, "too many devices");
  for (auto& device : devices) {
    if (locked && device->kind() == DeviceKind::balloon) {
      return failure("machine", EINVAL, "a balloon, and memory that is locked");
    }
    const AcpiDevice place = placeOf(static_cast<uint32_t>(transports_.size()));
    auto transport = TRY(Transport::create(std::move(device), memory_, &loop_));
    for (uint32_t queue = 0; queue < transport->doorbellCount(); ++queue) {
      TRY(vm_.addDoorbell({place.address + Transport::kDoorbell, 4, queue}, transport->doorbell(queue)));
    }
    TRY(vm_.addInterrupt(place.gsi, transport->interrupt()));
    TRY(devices_.add(place.address, place.sizeBytes, transport.get()));
    transports_.push_back(std::move(transport));
  }
  return Done{};
}

Status Machine::load(const MachineOptions& options, const MachineFiles& files, const KvmSystem& system) {
  phases_.begin("kernel");
  const Kernel kernel = TRY(loadKernel(*files.kernel, memory_));
  Handover handover;
  handover.commandLine = options.commandLine;
  phases_.begin("initramfs");
  if (files.initramfs != nullptr) handover.initramfs = TRY(loadInitramfs(*files.initramfs, kernel, memory_));
  phases_.begin("tables");
  AcpiMachine described{.cpus = options.cpus, .devices = {}};
  for (uint32_t index = 0; index < transports_.size(); ++index) {
    described.devices.push_back(placeOf(index));
  }
  handover.acpi = TRY(writeAcpi(described, memory_));

  TRY(renewGeneration());

  phases_.begin("processors");
  std::vector<Vcpu> vcpus = TRY(makeProcessors(options, system, TRY(system.supportedCpuid())));
  for (const Vcpu& vcpu : vcpus) TRY(vcpu.reset());
  // The others wait for the first one's start-up message; KVM holds them in that state.
  const EntryState initial = TRY(vcpus.front().state());
  TRY(vcpus.front().setState(TRY(prepareHandover(kernel, handover, memory_, initial))));
  cpus_ = std::make_unique<Cpus>(std::move(vcpus), Surroundings{&ports_, &devices_, &ending_}, options.pinned);
  return Done{};
}

Result<std::vector<Vcpu>> Machine::makeProcessors(const MachineOptions& options, const KvmSystem& system,
                                                  const std::vector<kvm_cpuid_entry2>& supported) {
  std::vector<Vcpu> vcpus;
  for (uint32_t index = 0; index < options.cpus; ++index) {
    Vcpu vcpu = TRY(vm_.createVcpu(system, index));
    const auto cpuid = guestCpuid(supported, {options.cpus, options.interpreted}, index);
    TRY(vcpu.setCpuid(cpuid));
    if (index == 0) cpuid_ = cpuid;
    vcpus.push_back(std::move(vcpu));
  }
  return vcpus;
}

Result<Outcome> Machine::run() {
  auto ran = runToItsEnd();
  // Whoever hears of the end relies on it, and what is still to be said must not grow meanwhile.
  cpus_->finish();
  TRY(std::move(ran));
  const uint64_t until = monotonicNs() + kLastWordsNs;
  for (const auto& transport : transports_) transport->conclude(until);
  return ending_.outcome();
}

Status Machine::runToItsEnd() {
  phases_.begin("threads");
  TRY(cpus_->start(confine_));
  if (late_ != nullptr) {
    TRY(late_->start({[confine = confine_] { return confine ? confine(ThreadKind::loader) : Status(Done{}); },
                      [this](int err) { ending_.end(Outcome::imageLost, static_cast<uint64_t>(err)); }}));
  }
  if (!loopCpus_.empty()) TRY(runOn(pthread_self(), loopCpus_));
  if (confine_) TRY(confine_(ThreadKind::loop));
  phases_.begin("guest");
  cpus_->open();
  return loop_.run(ending_.fd());
}

}  // namespace bulkhead::vm
