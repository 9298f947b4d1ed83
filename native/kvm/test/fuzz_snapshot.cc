// Any bytes as a snapshot: as they are, and as the content of a state file that is sealed as it should be, whose
// devices then go on in the guest's memory.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "memory/layout.h"
#include "snapshot/machine_state.h"
#include "snapshot/state_file.h"
#include "sys/syscalls.h"
#include "virtio/balloon.h"
#include "virtio/block.h"
#include "virtio/console.h"
#include "virtio/entropy.h"
#include "virtio/net.h"
#include "virtio/ports.h"
#include "virtio/transport.h"
#include "virtio/vsock.h"

namespace bulkhead::vm {
namespace {

constexpr uint64_t kDisk = 64 * 1024;

Fd socketOf(int type) {
  return std::move(sys::socketPair(type).take().left);
}

std::unique_ptr<Device> deviceOf(DeviceKind kind, const Fd& disk) {
  switch (kind) {
    case DeviceKind::net: {
      NetOptions options;
      options.frames = socketOf(SOCK_DGRAM);
      options.address = {2};
      return Net::create(std::move(options)).take();
    }
    case DeviceKind::block: {
      BlockOptions options;
      options.file = sys::duplicate(disk.get(), 3).take();
      options.oneByOne = true;
      return Block::create(std::move(options)).take();
    }
    case DeviceKind::console: {
      std::vector<NamedOutput> outputs;
      outputs.push_back({"stdout", Output(socketOf(SOCK_STREAM))});
      outputs.push_back({"stderr", Output(socketOf(SOCK_STREAM))});
      return std::make_unique<Ports>(std::move(outputs));
    }
    case DeviceKind::balloon:
      return std::make_unique<Balloon>(10);
    case DeviceKind::vsock:
      return Vsock::create({.cid = 3, .listener = {}, .path = ""}).take();
    case DeviceKind::entropy:
      return std::make_unique<Entropy>();
    case DeviceKind::files:
      // Of such a machine there is no snapshot.
      break;
  }
  return nullptr;
}

void goOn(const DeviceState& state, const GuestMemory& memory, const Fd& disk) {
  auto device = deviceOf(state.kind, disk);
  if (device == nullptr) return;
  EventLoop loop = EventLoop::create().take();
  const auto transport = Transport::create(std::move(device), memory, &loop).take();
  if (!transport->load(state.bytes).ok()) {
    uint32_t status = 1;
    transport->read(0x70, reinterpret_cast<uint8_t*>(&status), sizeof status);
    if (status != 0) abort();
    return;
  }
  transport->wake();
  for (int turn = 0; turn < 32; ++turn) {
    if (loop.turn(0).take() != EventLoop::Turn::served) break;
  }
  // What goes on can be taken again, and is the same to a device that is as new.
  const std::string again = transport->save();
  EventLoop other = EventLoop::create().take();
  const auto copy = Transport::create(deviceOf(state.kind, disk), memory, &other).take();
  (void)copy->load(again).ok();
}

}  // namespace
}  // namespace bulkhead::vm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bulkhead::vm;
  static const GuestMemory memory = GuestMemory::create({.sizeBytes = 2 * layout::kMiB}).take();
  static const bulkhead::Fd disk = [] {
    bulkhead::Fd file = bulkhead::sys::memoryFile("disk", 0).take();
    if (ftruncate(file.get(), kDisk) != 0) abort();
    return file;
  }();
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)MachineState::open(bytes).ok();
  auto state = MachineState::open(sealState(bytes));
  if (state.ok()) {
    // What is read is what would be written.
    if (state.value().seal() != sealState(bytes)) {
      auto normal = MachineState::open(state.value().seal());
      if (!normal.ok()) abort();
    }
    for (const DeviceState& each : state.value().devices) goOn(each, memory, disk);
    return 0;
  }
  // Too much has to be right for that to come about by chance: one device by itself, whose kind is the first byte.
  if (bytes.empty()) return 0;
  constexpr DeviceKind kKinds[] = {DeviceKind::net,     DeviceKind::block,   DeviceKind::console,
                                   DeviceKind::entropy, DeviceKind::balloon, DeviceKind::vsock};
  goOn({kKinds[data[0] % std::size(kKinds)], std::string(bytes.substr(1))}, memory, disk);
  return 0;
}
