// Any script of register accesses, rings and doorbells against each kind of device: bounds hold, the loop never waits,
// and after a reset the device works. The first byte says which device, and whether another thread changes the rings of
// its queues meanwhile.
#include <cstdlib>
#include <optional>

#include "driver.h"
#include "each_device.h"
#include "meddler.h"

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

/** First bytes from here on race. */
constexpr uint8_t kRaced = 128;

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
  const auto first = script.take<uint8_t>();
  Driver driver(makeDevice(first % kRaced, &program));
  driver.start();
  {
    std::optional<Meddler> meddler;
    if (first >= kRaced) meddler.emplace(&driver, first % driver.transport->doorbellCount(), size);
    while (!script.empty()) step(&script, &driver);
  }
  driver.start();
  if (driver.status() != 0xf) abort();
  // Whatever is left to do ends.
  for (int turns = 0; driver.wait(0); ++turns) {
    if (turns == 1000) abort();
  }
  return 0;
}
