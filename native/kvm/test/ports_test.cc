// Named ports: what the host does not take waits with the guest, and nothing of it is lost.
#include "virtio/ports.h"

#include <atomic>
#include <thread>

#include "driver.h"
#include "events/clock.h"
#include "runner.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {
namespace {

constexpr uint64_t kMultiport = uint64_t{1} << 1;
constexpr uint64_t kWords = Driver::kData + 0x1f0000;
constexpr uint64_t kBig = Driver::kData;
constexpr uint32_t kBigBytes = 1 << 20;

struct Message {
  uint32_t port;
  uint16_t event;
  uint16_t value;
};

struct Scene {
  sys::Pair out = sys::pipePair().take();
  sys::Pair err = sys::pipePair().take();
  std::unique_ptr<Driver> driver;
  uint16_t heard = 0;

  Scene() {
    std::vector<NamedOutput> outputs;
    outputs.push_back({"stdout", Output(std::move(out.right))});
    outputs.push_back({"stderr", Output(std::move(err.right))});
    driver = std::make_unique<Driver>(std::make_unique<Ports>(std::move(outputs)));
    driver->start(kMultiport);
    settle();
  }
  void settle() {
    while (driver->wait(0)) continue;
  }
  void listen(uint16_t buffers, uint32_t sizeBytes = 64) {
    for (uint16_t count = 0; count < buffers; ++count) {
      driver->add(Ports::kControlReceive, {{kWords + 0x1000 + count * 64u, sizeBytes, true}}, count);
    }
    driver->ring(Ports::kControlReceive);
    settle();
  }
  void say(const Message& message) {
    driver->memory.write(kWords, message);
    driver->add(Ports::kControlSend, {{kWords, sizeof message}});
    driver->ring(Ports::kControlSend);
    settle();
  }
  /** The next word of the device, with what follows it. */
  std::string next(Message* message) {
    if (driver->usedCount(Ports::kControlReceive) == heard) return "nothing";
    const Used used = driver->usedAt(Ports::kControlReceive, heard++);
    const uint64_t address = kWords + 0x1000 + used.head * 64u;
    driver->memory.read(address, message);
    return driver->get(address + sizeof *message, used.sizeBytes - sizeof *message);
  }
  void write(size_t port, uint64_t address, uint32_t sizeBytes) {
    driver->add(Ports::sendQueue(port),
                {{address, sizeBytes / 2}, {address + sizeBytes / 2, sizeBytes - sizeBytes / 2}});
    driver->ring(Ports::sendQueue(port));
  }
  bool done(size_t port, uint16_t count) { return driver->usedCount(Ports::sendQueue(port)) == count; }
};

std::string pattern(uint32_t sizeBytes) {
  std::string text;
  for (uint32_t index = 0; index < sizeBytes; ++index) text.push_back(static_cast<char>('a' + index % 23));
  return text;
}

std::string readAll(int fd, size_t sizeBytes) {
  std::string text(sizeBytes, '\0');
  size_t have = 0;
  while (have < sizeBytes) {
    auto got = sys::readSome(fd, text.data() + have, sizeBytes - have);
    if (!got.ok() || got.value() == 0) break;
    have += got.value();
  }
  text.resize(have);
  return text;
}

}  // namespace

TEST(ports_are_told_by_their_names) {
  Scene machine;
  machine.listen(8);
  machine.say({0, 0, 1});
  Message message = {};
  for (uint32_t port = 0; port < 2; ++port) {
    EXPECT_TEXT(machine.next(&message), "");
    EXPECT(message.port == port && message.event == 1);
  }
  machine.say({1, 3, 1});
  EXPECT_TEXT(machine.next(&message), "stderr");
  EXPECT(message.port == 1 && message.event == 7);
  EXPECT_TEXT(machine.next(&message), "");
  EXPECT(message.port == 1 && message.event == 6 && message.value == 1);
  // Ports that are not there, and failures of the driver's, are no reason to say anything.
  machine.say({2, 3, 1});
  machine.say({0, 0, 0});
  EXPECT_TEXT(machine.next(&message), "nothing");
}

TEST(ports_carry_each_their_own) {
  Scene machine;
  machine.driver->put(kBig, "to out to err");
  machine.write(0, kBig, 6);
  machine.write(1, kBig + 7, 6);
  EXPECT_TEXT(readAll(machine.out.left.get(), 6), "to out");
  EXPECT_TEXT(readAll(machine.err.left.get(), 6), "to err");
  EXPECT(machine.done(0, 1) && machine.done(1, 1));
}

TEST(a_port_that_is_not_read_keeps_its_guest_waiting_and_loses_nothing) {
  Scene machine;
  const std::string said = pattern(kBigBytes);
  machine.driver->put(kBig, said);
  machine.write(0, kBig, kBigBytes);
  machine.settle();
  EXPECT(machine.done(0, 0) && !machine.driver->needsReset());
  // The other one is not held up.
  machine.write(1, kBig, 6);
  EXPECT(machine.done(1, 1));
  std::string heard;
  std::thread reader([&] { heard = readAll(machine.out.left.get(), kBigBytes); });
  EXPECT(machine.driver->waitForUsed(Ports::sendQueue(0), 1));
  reader.join();
  EXPECT(heard == said);
  // Nothing waits any more, so nobody is woken.
  EXPECT(!machine.driver->wait(0));
}

TEST(what_waits_when_the_machine_is_over_is_still_said) {
  Scene machine;
  const std::string said = pattern(kBigBytes);
  machine.driver->put(kBig, said);
  machine.write(0, kBig, kBigBytes);
  std::string heard;
  std::thread reader([&] { heard = readAll(machine.out.left.get(), kBigBytes); });
  machine.driver->transport->conclude(~uint64_t{0});
  reader.join();
  EXPECT(heard == said && machine.done(0, 1));
}

TEST(what_is_still_said_of_a_machine_that_is_over_has_an_end) {
  Scene machine;
  machine.write(0, kBig, kBigBytes);
  EXPECT(machine.done(0, 0));
  // Somebody takes something all the time, and as much comes again.
  std::atomic<bool> over = false;
  std::thread reader([&] {
    while (!over) (void)readAll(machine.out.left.get(), 4096);
  });
  std::thread guest([&] {
    const uint64_t used = Driver::used(Ports::sendQueue(0)) + 2;
    const uint64_t available = Driver::available(Ports::sendQueue(0)) + 2;
    while (!over) {
      uint16_t index = 0;
      machine.driver->memory.read(used, &index);
      machine.driver->memory.write(available, static_cast<uint16_t>(index + 8));
    }
  });
  machine.driver->transport->conclude(monotonicNs() + 200'000'000);
  over = true;
  guest.join();
  // The reader may wait for more.
  machine.driver.reset();
  reader.join();
  EXPECT(over);
}

TEST(a_port_whose_reader_is_gone_holds_nobody_up) {
  Scene machine;
  machine.write(0, kBig, kBigBytes);
  EXPECT(machine.done(0, 0));
  machine.out.left.reset();
  EXPECT(machine.driver->waitForUsed(Ports::sendQueue(0), 1));
}

TEST(a_request_that_shrinks_while_it_waits_costs_its_guest_only) {
  Scene machine;
  machine.write(0, kBig, kBigBytes);
  EXPECT(machine.done(0, 0));
  machine.driver->describe(Ports::sendQueue(0), 0, {kBig, 1});
  readAll(machine.out.left.get(), 4096);
  EXPECT(machine.driver->waitForUsed(Ports::sendQueue(0), 1));
  EXPECT(!machine.driver->needsReset());
}

TEST(words_wait_for_the_guests_buffers_and_are_bounded) {
  Scene machine;
  for (uint32_t count = 0; count < 40; ++count) machine.say({0, 3, 1});
  const uint16_t taken = machine.driver->usedCount(Ports::kControlSend);
  EXPECT(taken > 0 && taken <= Ports::kMaxReplies / 2 && !machine.driver->needsReset());
  machine.listen(4);
  EXPECT(machine.driver->usedCount(Ports::kControlReceive) == 4);
  EXPECT(machine.driver->usedCount(Ports::kControlSend) > taken);
}

TEST(words_that_break_the_rules_stop_the_device) {
  for (const bool shortWord : {true, false}) {
    Scene machine;
    if (!shortWord) machine.listen(1, 4);
    machine.driver->memory.write(kWords, Message{0, 0, 1});
    machine.driver->add(Ports::kControlSend, {{kWords, shortWord ? 7u : 8u}});
    machine.driver->ring(Ports::kControlSend);
    EXPECT(machine.driver->needsReset());
  }
}

}  // namespace bulkhead::vm
