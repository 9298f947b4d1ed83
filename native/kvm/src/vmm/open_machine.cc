#include "vmm/open_machine.h"

#include <fcntl.h>

#include "jail/jail.h"
#include "vmm/device_words.h"
#include "vmm/devices.h"
#include "vmm/named_file.h"

namespace bulkhead::vm {
namespace {

/** nullptr where everything is to be read before the guest runs, which is as right and later. */
std::unique_ptr<LateBlocks> openLate(const VmmOptions& options) {
  // Memory of a guest with processors of its own is to be near them: this thread is on them, and touches it first.
  if (!options.machine.pinned.empty()) return nullptr;
  auto device = openNamed(options.lateMemory, O_RDWR);
  if (!device.ok()) return nullptr;
  auto late = LateBlocks::create(device.value());
  return late.ok() ? late.take() : nullptr;
}

}  // namespace

Sockets socketsOf(const VmmOptions& options) {
  Sockets sockets = {.streams = !options.control.empty()};
  for (const std::string& device : options.devices) {
    DeviceWords words(device);
    const bool files = words.kind() == "files";
    const bool vsock = words.kind() == "vsock";
    sockets.streams |= files || vsock;
    sockets.descriptors |= files;
    sockets.connects |= vsock && !words.text("path").empty();
  }
  return sockets;
}

Result<std::unique_ptr<Machine>> openMachine(const VmmOptions& options) {
  Phases phases;
  phases.begin("open");
  MachineFiles files;
  files.kvm = TRY(openNamed(options.kvm, O_RDWR));
  files.serialOutput = TRY(openNamed(options.serial, O_WRONLY));
  for (const std::string& device : options.devices) files.devices.push_back(TRY(openDevice(device)));
  MachineOptions machine = options.machine;
  machine.phases = phases;
  if (options.jail) {
    machine.confine = [sockets = socketsOf(options)](ThreadKind kind) { return confineThread(kind, sockets); };
  }
  if (!options.restore.empty()) {
    const SnapshotFiles snapshot = {TRY(openNamed(options.restore, O_RDONLY)),
                                    TRY(openNamed(options.memory, O_RDONLY))};
    return Machine::restore(machine, std::move(files), snapshot);
  }
  FileSource kernel = TRY(FileSource::open(TRY(openNamed(options.kernel, O_RDONLY))));
  files.kernel = &kernel;
  if (kernel.isLarge()) files.late = openLate(options);
  kernel.comeBy(files.late.get());
  if (options.initramfs.empty()) return Machine::create(machine, std::move(files));
  FileSource initramfs = TRY(FileSource::open(TRY(openNamed(options.initramfs, O_RDONLY))));
  files.initramfs = &initramfs;
  initramfs.comeBy(files.late.get());
  return Machine::create(machine, std::move(files));
}

}  // namespace bulkhead::vm
