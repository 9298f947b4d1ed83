#include "vmm/open_machine.h"

#include <fcntl.h>

#include <algorithm>

#include "jail/jail.h"
#include "vmm/devices.h"
#include "vmm/named_file.h"

namespace bulkhead::vm {

Sockets socketsOf(const VmmOptions& options) {
  const auto has = [&](std::string_view kind) {
    return std::any_of(options.devices.begin(), options.devices.end(),
                       [&](const std::string& device) { return device.starts_with(kind); });
  };
  if (has("files")) return Sockets::descriptors;
  return !options.control.empty() || has("vsock") ? Sockets::streams : Sockets::none;
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
  const FileSource kernel = TRY(FileSource::open(TRY(openNamed(options.kernel, O_RDONLY))));
  files.kernel = &kernel;
  if (options.initramfs.empty()) return Machine::create(machine, std::move(files));
  const FileSource initramfs = TRY(FileSource::open(TRY(openNamed(options.initramfs, O_RDONLY))));
  files.initramfs = &initramfs;
  return Machine::create(machine, std::move(files));
}

}  // namespace bulkhead::vm
