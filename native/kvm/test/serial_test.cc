// The UART, as a driver uses it.
#include "devices/serial.h"

#include <memory>

#include "runner.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {
namespace {

struct Port {
  EventFd interrupt = EventFd::create().take();
  sys::Pair pipe = sys::pipePair().take();
  std::unique_ptr<Serial> serial = std::make_unique<Serial>(Output(std::move(pipe.right)), &interrupt);

  void write(uint64_t offset, uint8_t value) { serial->write(offset, &value, 1); }
  uint8_t read(uint64_t offset) {
    uint8_t value = 0xff;
    serial->read(offset, &value, 1);
    return value;
  }
  std::string said() {
    char bytes[8192];
    auto count = sys::readSome(pipe.left.get(), bytes, sizeof bytes);
    return {bytes, count.ok() ? count.value() : 0};
  }
};

}  // namespace

TEST(serial_sends_lines_and_asks_for_more) {
  Port port;
  port.write(1, 2);
  EXPECT(port.interrupt.take());
  EXPECT((port.read(2) & 0xf) == 2);
  EXPECT((port.read(2) & 0xf) == 1);
  for (const char byte : std::string_view("hello\n")) port.write(0, static_cast<uint8_t>(byte));
  EXPECT_TEXT(port.said(), "hello\n");
  EXPECT(port.interrupt.take());
}

TEST(serial_still_asks_for_more_when_a_driver_changes_what_else_it_wants_to_hear) {
  Port port;
  port.write(1, 2);
  EXPECT((port.read(2) & 0xf) == 2 && port.interrupt.take());
  port.write(0, 'x');
  EXPECT(port.interrupt.take());
  port.write(1, 3);
  EXPECT((port.read(2) & 0xf) == 2);
  // And what was heard is not said again.
  port.write(1, 2);
  EXPECT((port.read(2) & 0xf) == 1 && !port.interrupt.take());
  // What was turned off is: a driver that turns it on asks.
  port.write(0, 'y');
  port.write(1, 0);
  EXPECT((port.read(2) & 0xf) == 1 && port.interrupt.take());
  port.write(1, 2);
  EXPECT((port.read(2) & 0xf) == 2 && port.interrupt.take());
}

TEST(serial_receives_as_much_as_its_fifo_holds) {
  Port port;
  port.write(1, 1);
  const std::string input(100, 'x');
  EXPECT(port.serial->receive(reinterpret_cast<const uint8_t*>(input.data()), input.size()) == 64);
  EXPECT(port.interrupt.take());
  EXPECT((port.read(2) & 0xf) == 4);
  for (int index = 0; index < 64; ++index) EXPECT(port.read(0) == 'x');
  EXPECT((port.read(5) & 1) == 0);
  EXPECT(port.read(0) == 0);
}

TEST(serial_loops_back_for_those_who_probe) {
  Port port;
  port.write(4, 0x1a);
  EXPECT((port.read(6) & 0xf0) == 0x90);
  port.write(0, 'p');
  EXPECT(port.read(0) == 'p');
  port.write(7, 0x5a);
  EXPECT(port.read(7) == 0x5a);
}

TEST(serial_ignores_wide_accesses) {
  Port port;
  uint8_t bytes[4] = {1, 2, 3, 4};
  port.serial->write(0, bytes, 4);
  port.serial->read(0, bytes, 4);
  EXPECT(bytes[0] == 1 && bytes[3] == 4);
}

TEST(serial_drops_and_counts_what_nobody_reads) {
  Port port;
  for (int index = 0; index < 200'000; ++index) port.write(0, '\n');
  EXPECT(port.serial->droppedBytes() > 0);
}

}  // namespace bulkhead::vm
