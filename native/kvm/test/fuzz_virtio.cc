// Any script of register accesses, rings and doorbells against each kind of device: bounds hold, the loop never waits,
// and after a reset the device works.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>

#include "driver.h"
#include "sys/syscalls.h"
#include "virtio/balloon.h"
#include "virtio/block.h"
#include "virtio/console.h"
#include "virtio/entropy.h"
#include "virtio/net.h"
#include "virtio/ports.h"
#include "virtio/vsock.h"

namespace bulkhead::vm {
namespace {

/** Takes values off a fuzzer's input; zero when it is used up. */
class Script {
 public:
  Script(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  template <class T>
  T take() {
    T value = {};
    const size_t size = size_ < sizeof value ? size_ : sizeof value;
    memcpy(&value, data_, size);
    data_ += size;
    size_ -= size;
    return value;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

/** A listening socket without a name in any directory, to which a program has connected that said this. */
Fd listenerWith(std::string_view greeting, Fd* program) {
  Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // Bound to nothing but a family, it gets a name of the kernel's.
  socklen_t size = sizeof address.sun_family;
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener.get(), 4) != 0) abort();
  size = sizeof address;
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  *program = Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(program->get(), reinterpret_cast<sockaddr*>(&address), size) != 0) abort();
  (void)!write(program->get(), greeting.data(), greeting.size());
  return listener;
}

std::unique_ptr<Device> makeDevice(uint8_t kind, Fd* program) {
  Output nowhere(sys::openAt(AT_FDCWD, "/dev/null", O_WRONLY).take());
  switch (kind % 8) {
    case 0:
      return std::make_unique<Entropy>();
    case 1: {
      sys::Pair pipe = sys::pipePair().take();
      sys::writeAll(pipe.right.get(), "typed", 5).ok();
      return std::make_unique<Console>(std::move(pipe.left), std::move(nowhere));
    }
    case 2: {
      NetOptions options;
      sys::Pair pair = sys::socketPair(SOCK_SEQPACKET).take();
      const std::string frame(2000, 'f');
      for (int count = 0; count < 3; ++count) send(pair.right.get(), frame.data(), frame.size() >> count, 0);
      options.frames = std::move(pair.left);
      return Net::create(std::move(options)).take();
    }
    case 3: {
      return Vsock::create({.cid = 3, .listener = listenerWith("CONNECT 1024\nhello", program), .path = ""}).take();
    }
    case 4:
      return std::make_unique<Balloon>(100);
    case 7: {
      std::vector<NamedOutput> outputs;
      outputs.push_back({"stdout", Output(std::move(nowhere))});
      sys::Pair pipe = sys::pipePair().take();
      *program = std::move(pipe.left);
      outputs.push_back({"stderr", Output(std::move(pipe.right))});
      return std::make_unique<Ports>(std::move(outputs));
    }
    default: {
      BlockOptions options;
      options.file = sys::memoryFile("disk", 0).take();
      (void)!ftruncate(options.file.get(), 64 * 1024);
      options.oneByOne = kind % 8 == 5;
      return Block::create(std::move(options)).take();
    }
  }
}

/** Buffers near the ends of RAM, inside rings, and anywhere. */
Buffer takeBuffer(Script* script) {
  constexpr uint64_t kPlaces[] = {Driver::kData, 0x10000, 4 * layout::kMiB - 64, layout::kVirtioMmio};
  const auto choice = script->take<uint8_t>();
  const uint64_t address =
      (choice & 4) != 0 ? script->take<uint64_t>() : kPlaces[choice & 3] + script->take<uint16_t>();
  const uint32_t size = (choice & 8) != 0 ? script->take<uint32_t>() : script->take<uint8_t>();
  return {address, size, (choice & 16) != 0};
}

void step(Script* script, Driver* driver) {
  const auto action = script->take<uint8_t>();
  const uint32_t queues = driver->transport->doorbellCount();
  const uint32_t queue = script->take<uint8_t>() % queues;
  switch (action % 9) {
    case 0:
      driver->set(script->take<uint8_t>() & ~3u, script->take<uint32_t>());
      break;
    case 1: {
      uint8_t bytes[8] = {};
      const uint32_t size = 1u << (action >> 6);
      driver->transport->read(script->take<uint16_t>() % (Transport::kRegisterBytes - 8), bytes, size);
      driver->transport->write(script->take<uint16_t>() % (Transport::kRegisterBytes - 8), bytes, size);
      break;
    }
    case 2:
      driver->start(script->take<uint64_t>() & ~(uint64_t{1} << 32));
      break;
    case 3: {
      const auto index = static_cast<uint16_t>(script->take<uint8_t>() % Driver::kQueueSize);
      driver->describe(queue, index, takeBuffer(script), (action & 16) != 0 ? script->take<uint8_t>() : -1);
      break;
    }
    case 4:
      driver->publish(queue, script->take<uint8_t>() % (Driver::kQueueSize + 1));
      break;
    case 5:
      driver->ring(queue);
      break;
    case 6:
      driver->wait(0);
      break;
    case 7:
      driver->memory.write(0x10000 + script->take<uint32_t>() % 0x40000, script->take<uint64_t>());
      break;
    default: {
      std::vector<Buffer> buffers;
      for (uint32_t count = 1 + action / 64; count > 0; --count) buffers.push_back(takeBuffer(script));
      driver->add(queue, buffers, static_cast<uint16_t>(script->take<uint8_t>() % (Driver::kQueueSize / 2)));
      driver->ring(queue);
    }
  }
}

}  // namespace
}  // namespace bulkhead::vm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bulkhead::vm;
  Script script(data, size);
  bulkhead::Fd program;
  Driver driver(makeDevice(script.take<uint8_t>(), &program));
  driver.start();
  while (!script.empty()) step(&script, &driver);
  driver.start();
  if (driver.status() != 0xf) abort();
  // Whatever is left to do ends.
  for (int turns = 0; driver.wait(0); ++turns) {
    if (turns == 1000) abort();
  }
  return 0;
}
