// A device's part of a snapshot: what a driver relies on goes on in a copy, and what no driver can have brought about
// is refused.
#include <fcntl.h>
#include <poll.h>

#include <cerrno>

#include "sys/syscalls.h"
#include "virtio/balloon.h"
#include "virtio/block.h"
#include "virtio/entropy.h"
#include "virtio/ports.h"
#include "vsock_bridge.h"

namespace bulkhead::vm {
namespace {

/** A new machine's device that goes on from where `from` is. */
Result<std::unique_ptr<Driver>> copyOf(Driver* from, std::unique_ptr<Device> device) {
  auto copy = std::make_unique<Driver>(std::move(device));
  const std::string state = from->transport->save();
  memcpy(copy->memory.host(), from->memory.host(), from->memory.sizeBytes());
  TRY(copy->transport->load(state));
  copy->transport->wake();
  return copy;
}

constexpr uint64_t kDisk = 64 * 1024;

std::unique_ptr<Device> diskOn(const Fd& file) {
  BlockOptions options;
  options.file = sys::duplicate(file.get(), 3).take();
  return Block::create(std::move(options)).take();
}

/** Where a field lies in Transport::save's answer: features, parts, selected, status; then each queue. */
constexpr size_t kFeaturesAt = 0;
constexpr size_t kStatusAt = 20;
constexpr size_t kQueueSizeAt = 32;
constexpr size_t kDescriptorsAt = 35;

Status loadInto(std::string state, size_t at, std::string_view bytes) {
  Driver driver(std::make_unique<Entropy>());
  state.replace(at, bytes.size(), bytes);
  Status loaded = driver.transport->load(state);
  // What was refused is as after a reset.
  if (!loaded.ok()) EXPECT(driver.status() == 0 && driver.reg(0x44) == 0);
  return loaded;
}

}  // namespace

TEST(a_request_that_nobody_had_looked_at_is_served_in_the_copy) {
  Driver driver(std::make_unique<Entropy>());
  driver.start(Driver::kEventIndex);
  driver.add(0, {{Driver::kData, 16, true}});
  // Its doorbell rang and was not heard.
  auto copy = copyOf(&driver, std::make_unique<Entropy>());
  EXPECT(copy.ok());
  if (!copy.ok()) return;
  EXPECT(copy.value()->waitForUsed(0, 1));
  EXPECT(copy.value()->interrupted());
  EXPECT(driver.usedCount(0) == 0);
}

TEST(an_interrupt_that_nobody_had_taken_comes_again_in_the_copy) {
  Driver driver(std::make_unique<Entropy>());
  driver.start();
  driver.add(0, {{Driver::kData, 16, true}});
  driver.ring(0);
  EXPECT(driver.interrupted());
  auto copy = copyOf(&driver, std::make_unique<Entropy>());
  EXPECT(copy.ok());
  if (!copy.ok()) return;
  EXPECT(copy.value()->interrupted() && copy.value()->reg(0x60) == 1);
  EXPECT(copy.value()->usedCount(0) == 1 && !copy.value()->needsReset());
}

TEST(what_a_disk_is_at_is_finished_before_it_is_saved) {
  char name[] = "/tmp/kvm-disk-XXXXXX";
  const Fd file(mkstemp(name));
  unlink(name);
  EXPECT(ftruncate(file.get(), kDisk) == 0);
  Driver driver(diskOn(file));
  driver.start(1 << 9);
  constexpr uint32_t kFlushes = 8;
  for (uint32_t index = 0; index < kFlushes; ++index) {
    const uint64_t at = Driver::kData + index * 0x100;
    driver.memory.write(at, uint64_t{4});
    driver.memory.write(at + 16, uint8_t{0x77});
    driver.add(0, {{at, 16}, {at + 16, 1, true}}, static_cast<uint16_t>(index * 2));
  }
  driver.ring(0);
  auto copy = copyOf(&driver, diskOn(file));
  EXPECT(copy.ok());
  if (!copy.ok()) return;
  for (uint32_t index = 0; index < kFlushes; ++index) {
    EXPECT_TEXT(copy.value()->get(Driver::kData + index * 0x100 + 16, 1), std::string(1, '\0'));
  }
  EXPECT(copy.value()->usedCount(0) == kFlushes && driver.usedCount(0) == kFlushes);
  // And it goes on being a disk.
  copy.value()->memory.write(Driver::kData + 16, uint8_t{0x77});
  copy.value()->add(0, {{Driver::kData, 16}, {Driver::kData + 16, 1, true}});
}

TEST(a_balloon_remembers_what_its_guest_said) {
  Driver driver(std::make_unique<Balloon>(77));
  driver.start();
  driver.set(0x104, 55);
  auto copy = copyOf(&driver, std::make_unique<Balloon>(88));
  EXPECT(copy.ok());
  if (!copy.ok()) return;
  // The wish is the host's.
  EXPECT(copy.value()->reg(0x100) == 88 && copy.value()->reg(0x104) == 55);
}

TEST(a_port_goes_on_in_the_middle_of_what_its_guest_says) {
  constexpr uint32_t kBytes = 256 * 1024;
  const auto portsTo = [](Fd to) {
    std::vector<NamedOutput> outputs;
    outputs.push_back({"stdout", Output(std::move(to))});
    return std::make_unique<Ports>(std::move(outputs));
  };
  sys::Pair out = sys::pipePair().take();
  sys::Pair copied = sys::pipePair().take();
  Driver driver(portsTo(std::move(out.right)));
  driver.start(uint64_t{1} << 1);
  for (uint32_t at = 0; at < kBytes; at += 4) driver.memory.write(Driver::kData + at, at);
  driver.add(1, {{Driver::kData, kBytes}});
  driver.ring(1);
  while (driver.wait(0)) continue;
  auto copy = copyOf(&driver, portsTo(std::move(copied.right)));
  EXPECT(copy.ok());
  if (!copy.ok()) return;
  // What the host had taken it has; all the rest is the copy's to say.
  std::string said;
  const auto take = [&](const Fd& from) {
    struct pollfd ready = {from.get(), POLLIN, 0};
    char bytes[4096];
    while (poll(&ready, 1, 0) == 1) said.append(bytes, sys::readSome(from.get(), bytes, sizeof bytes).take());
  };
  take(out.left);
  EXPECT(!said.empty() && said.size() < kBytes);
  for (int round = 0; round < 1000 && copy.value()->usedCount(1) == 0; ++round) {
    copy.value()->wait(10);
    take(copied.left);
  }
  take(copied.left);
  EXPECT_TEXT(said == driver.get(Driver::kData, kBytes) ? "all of it, once" : std::to_string(said.size()),
              "all of it, once");
}

TEST(a_driver_that_had_not_finished_goes_on_where_it_was) {
  Driver driver(std::make_unique<Entropy>());
  driver.begin();
  driver.setUpQueue(0);
  auto copy = copyOf(&driver, std::make_unique<Entropy>());
  EXPECT(copy.ok());
  if (!copy.ok()) return;
  EXPECT(copy.value()->status() == 0xb);
  copy.value()->finish();
  copy.value()->add(0, {{Driver::kData, 16, true}});
  EXPECT(copy.value()->waitForUsed(0, 1));
}

TEST(streams_of_a_vsock_end_in_a_copy_which_hears_of_it) {
  constexpr uint32_t kEvents = 2;
  constexpr uint64_t kEvent = Driver::kData + 0x1000;
  Bridge bridge;
  for (uint16_t index = 0; index < 2; ++index) bridge.driver->add(kEvents, {{kEvent + index * 8u, 8, true}}, index);
  bridge.post(4);
  const Fd stream = bridge.open(1000);
  EXPECT(bridge.vsock->connectionCount() == 1);

  const std::string path = bridge.path + "_6";
  const Fd listener = listenAt(path);
  auto made =
      Vsock::create({.cid = kCid + 1, .listener = sys::duplicate(listener.get(), 3).take(), .path = bridge.path})
          .take();
  const Vsock* vsock = made.get();
  auto copied = copyOf(bridge.driver.get(), std::move(made));
  EXPECT(copied.ok());
  if (!copied.ok()) return;
  Driver& copy = *copied.value();
  EXPECT(vsock->connectionCount() == 0 && bridge.vsock->connectionCount() == 1);
  EXPECT(copy.usedCount(kEvents) == 1 && copy.usedAt(kEvents, 0).sizeBytes == 4 && copy.interrupted());
  EXPECT_TEXT(copy.get(kEvent, 4), std::string(4, '\0'));
  // Its address is the copy's own.
  EXPECT(copy.reg(0x100) == kCid + 1);

  // Whoever connects before the guest has heard of it waits.
  const Fd early(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = addressOf(path);
  EXPECT(connect(early.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  while (copy.wait(0)) continue;
  EXPECT(vsock->connectionCount() == 0);
  // The driver gives the buffer back behind the two that it had published.
  copy.memory.write(Driver::available(kEvents) + 4 + 2 * 2, uint16_t{0});
  copy.memory.write(Driver::available(kEvents) + 2, uint16_t{3});
  copy.ring(kEvents);
  while (copy.wait(0)) continue;
  EXPECT(vsock->connectionCount() == 1);
}

TEST(a_state_that_no_driver_can_bring_about_is_refused) {
  Driver driver(std::make_unique<Entropy>());
  driver.start();
  const std::string state = driver.transport->save();
  EXPECT(loadInto(state, 0, "").ok());
  struct Wrong {
    const char* what;
    size_t at;
    std::string_view bytes;
    int err;
  };
  using namespace std::string_view_literals;
  const Wrong kWrong[] = {
      {"a feature that is not offered", kFeaturesAt, "\xff\xff\xff\xff"sv, EBADMSG},
      {"no features", kFeaturesAt, "\0\0\0\0\0\0\0\0"sv, EBADMSG},
      {"a status out of order", kStatusAt, "\x0d"sv, EBADMSG},
      {"a status of more bits", kStatusAt, "\x1f"sv, EBADMSG},
      {"a queue larger than any", kQueueSizeAt, "\xff\xff"sv, EBADMSG},
      {"a queue that is no power of 2", kQueueSizeAt, "\x03\0"sv, EPROTO},
      {"a queue of nothing", kQueueSizeAt, "\0\0"sv, EPROTO},
      {"a ring outside the RAM", kDescriptorsAt, "\0\0\0\0\x01"sv, EPROTO},
      {"a ring over the RAM's end", kDescriptorsAt, "\xf0\xff\x3f\0"sv, EPROTO},
      {"a ring that is not aligned", kDescriptorsAt, "\x01"sv, EPROTO},
  };
  for (const Wrong& each : kWrong) {
    const Status loaded = loadInto(state, each.at, each.bytes);
    EXPECT_THAT(!loaded.ok() && loaded.error().err == each.err, each.what);
  }
  // A queue that is not ready, in which something was done all the same.
  std::string unready = state;
  unready[kQueueSizeAt + 2] = 0;
  for (size_t at = kDescriptorsAt + 24; at < kDescriptorsAt + 30; ++at) unready[at] = static_cast<char>(at);
  Driver still(std::make_unique<Entropy>());
  EXPECT(still.transport->load(unready).ok());
  still.transport->wake();
  EXPECT(still.reg(0x70) == 0xf && !still.interrupted());
  for (size_t size = 0; size < state.size(); ++size) {
    Driver copy(std::make_unique<Entropy>());
    EXPECT(copy.transport->load(state.substr(0, size)).error().err == EBADMSG);
  }
  Driver copy(std::make_unique<Entropy>());
  EXPECT(copy.transport->load(state + "x").error().err == EBADMSG);
  // More than the kind of device has.
  std::string more = state.substr(0, state.size() - 4);
  more += "\x01\0\0\0x"sv;
  EXPECT(copy.transport->load(more).error().err == EBADMSG);
}

}  // namespace bulkhead::vm
