// virtio-net, with a socket in the tap device's place: frames both ways, and everything that is not a frame.
#include "virtio/net.h"

#include <sys/socket.h>

#include <cerrno>

#include "driver.h"
#include "events/clock.h"
#include "runner.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {
namespace {

constexpr uint32_t kReceive = 0;
constexpr uint32_t kSend = 1;
constexpr uint64_t kMergeable = 1 << 15;
constexpr uint64_t kChecksum = 1 << 0;
constexpr uint64_t kHostTso4 = 1 << 11;
constexpr size_t kHeaderBytes = 12;
const std::string kPlainHeader(kHeaderBytes, '\0');
const std::string kOwn = "\x02\x01\x02\x03\x04\x05";
const std::string kOther = "\x02\x0a\x0b\x0c\x0d\x0e";

std::string frameFrom(const std::string& address, size_t payloadBytes) {
  return std::string(6, '\xff') + address + "\x08\x06" + std::string(payloadBytes, 'p');
}

struct Card {
  sys::Pair pair = sys::socketPair(SOCK_SEQPACKET).take();
  Net* net = nullptr;
  std::unique_ptr<Driver> driver;

  explicit Card(uint64_t features = 0, const RateLimits& receiving = {}) {
    const int bytes = 1 << 20;
    for (const int fd : {pair.left.get(), pair.right.get()})
      setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    NetOptions options;
    options.frames = std::move(pair.left);
    std::copy(kOwn.begin(), kOwn.end(), options.address.begin());
    options.receiving = receiving;
    auto made = Net::create(std::move(options)).take();
    net = made.get();
    driver = std::make_unique<Driver>(std::move(made));
    driver->start(features);
    settle();
  }
  void settle() {
    while (driver->wait(0)) continue;
  }
  void send(const std::string& headerAndFrame) {
    driver->put(Driver::kData, headerAndFrame);
    driver->add(kSend, {{Driver::kData, static_cast<uint32_t>(headerAndFrame.size())}});
    driver->ring(kSend);
  }
  /** The next frame that the host got; empty when there is none. */
  std::string got() {
    std::string bytes(70'000, '\0');
    const ssize_t size = recv(pair.right.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    return size < 0 ? "" : bytes.substr(0, static_cast<size_t>(size));
  }
  void arrive(const std::string& frame) {
    const std::string whole = kPlainHeader + frame;
    EXPECT(::send(pair.right.get(), whole.data(), whole.size(), 0) == static_cast<ssize_t>(whole.size()));
  }
};

}  // namespace

TEST(net_says_who_it_is) {
  Card card;
  std::string address(6, '\0');
  for (size_t index = 0; index < address.size(); ++index) {
    card.driver->transport->read(0x100 + index, reinterpret_cast<uint8_t*>(&address[index]), 1);
  }
  EXPECT(address == kOwn);
  EXPECT(card.driver->reg(0x108) >> 16 == 1500);
}

TEST(net_sends_frames_of_its_own_address) {
  Card card;
  const std::string frame = frameFrom(kOwn, 100);
  card.send(kPlainHeader + frame);
  EXPECT(card.got() == kPlainHeader + frame);
  // In pieces, cut through the header and the addresses.
  card.driver->put(Driver::kData, kPlainHeader + frame);
  card.driver->add(kSend, {{Driver::kData, 7}, {Driver::kData + 7, 10}, {Driver::kData + 17, 109}});
  card.driver->ring(kSend);
  EXPECT(card.got() == kPlainHeader + frame);
  EXPECT(card.net->counts().sent == 2 && card.driver->usedCount(kSend) == 2);
}

TEST(net_refuses_frames_that_are_none_or_another_s) {
  Card card;
  card.send(kPlainHeader + frameFrom(kOther, 100));
  card.send(kPlainHeader + frameFrom(kOwn, 0).substr(0, 13));
  card.send("x");
  card.send(kPlainHeader + frameFrom(kOwn, 70'000));
  // Offloads that were not agreed on, and flags that mean nothing.
  for (const size_t at : {0, 1}) {
    std::string header = kPlainHeader;
    header[at] = 1;
    card.send(header + frameFrom(kOwn, 100));
  }
  EXPECT(card.got().empty());
  EXPECT(card.net->counts().refused == 6 && card.driver->usedCount(kSend) == 6 && !card.driver->needsReset());
}

TEST(net_sends_what_the_host_segments) {
  Card card(kChecksum | kHostTso4);
  std::string header = kPlainHeader;
  header[0] = 1;
  header[1] = 1;
  card.send(header + frameFrom(kOwn, 60'000));
  EXPECT(card.got().size() == kHeaderBytes + 14 + 60'000);
  header[0] = 2;
  card.send(header + frameFrom(kOwn, 100));
  header[0] = 1;
  header[1] = 5;
  card.send(header + frameFrom(kOwn, 100));
  EXPECT(card.net->counts().refused == 2);
}

TEST(net_that_nobody_reads_loses_frames_and_goes_on) {
  Card card;
  for (int count = 0; count < 200; ++count) card.send(kPlainHeader + frameFrom(kOwn, 20'000));
  EXPECT(card.net->counts().notSent > 0 && card.driver->usedCount(kSend) == 200);
}

TEST(net_receives_into_one_buffer_each) {
  Card card;
  const std::string frame = frameFrom(kOther, 50);
  card.arrive(frame);
  card.arrive(frame);
  card.settle();
  // Nobody asks the host again while the guest has no buffers.
  EXPECT(!card.driver->wait(0));
  for (const uint16_t index : {0, 1}) {
    card.driver->add(kReceive, {{Driver::kData + index * 0x1000u, 1600, true}}, index);
  }
  card.driver->ring(kReceive);
  card.settle();
  EXPECT(card.driver->usedCount(kReceive) == 2 && card.driver->usedAt(kReceive, 1).sizeBytes == 12 + frame.size());
  EXPECT(card.driver->get(Driver::kData + 0x1000 + 12, frame.size()) == frame);
  EXPECT(card.driver->get(Driver::kData + 10, 2) == std::string("\x01\x00", 2));
}

TEST(net_loses_a_frame_that_its_driver_has_no_room_for) {
  Card card;
  card.driver->add(kReceive, {{Driver::kData, 40, true}}, 0);
  card.driver->ring(kReceive);
  card.arrive(frameFrom(kOther, 50));
  card.arrive(frameFrom(kOther, 10));
  card.settle();
  EXPECT(card.net->counts().notReceived == 1 && card.net->counts().received == 1);
  EXPECT(card.driver->usedAt(kReceive, 0).sizeBytes == 12 + 24);
}

TEST(net_spreads_a_frame_over_buffers_that_merge) {
  Card card(kMergeable);
  const std::string frame = frameFrom(kOther, 250);
  for (uint16_t index = 0; index < 2; ++index) {
    card.driver->add(kReceive, {{Driver::kData + index * 100u, 100, true}}, index);
  }
  card.driver->ring(kReceive);
  card.arrive(frame);
  card.settle();
  // It waits for the third.
  EXPECT(card.driver->usedCount(kReceive) == 0);
  card.driver->add(kReceive, {{Driver::kData + 200, 100, true}}, 2);
  card.driver->ring(kReceive);
  EXPECT(card.driver->usedCount(kReceive) == 3 && card.driver->usedAt(kReceive, 2).sizeBytes == 12 + 264 - 200);
  EXPECT(card.driver->get(Driver::kData + 12, 264) == frame);
  EXPECT(card.driver->get(Driver::kData + 10, 2) == std::string("\x03\x00", 2));
}

TEST(net_loses_a_frame_that_all_buffers_cannot_hold) {
  Card card(kMergeable);
  for (uint16_t index = 0; index < Driver::kQueueSize; ++index) {
    card.driver->add(kReceive, {{Driver::kData, 12, true}}, index);
  }
  card.driver->ring(kReceive);
  card.arrive(frameFrom(kOther, 1000));
  card.settle();
  EXPECT(card.net->counts().notReceived == 1 && !card.driver->needsReset());
}

TEST(net_first_buffer_without_room_for_the_header_stops_the_device) {
  Card card(kMergeable);
  for (uint16_t index = 0; index < 12; ++index) card.driver->add(kReceive, {{Driver::kData, 8, true}}, index);
  card.driver->ring(kReceive);
  card.arrive(frameFrom(kOther, 50));
  card.settle();
  EXPECT(card.driver->needsReset() && !card.driver->wait(0));
}

TEST(net_receives_no_faster_than_its_limit) {
  const uint64_t before = monotonicNs();
  Card card(0, {.operations = {.perSecond = 100, .burst = 1}, .bytes = {}});
  for (uint16_t count = 0; count < 11; ++count) {
    card.driver->add(kReceive, {{Driver::kData, 1600, true}}, count);
    card.arrive(frameFrom(kOther, 50));
  }
  card.driver->ring(kReceive);
  EXPECT(card.driver->waitForUsed(kReceive, 11));
  EXPECT(monotonicNs() - before >= 100'000'000);
}

TEST(net_whose_host_is_gone_is_quiet) {
  Card card;
  card.driver->add(kReceive, {{Driver::kData, 1600, true}});
  card.driver->ring(kReceive);
  card.pair.right.reset();
  card.settle();
  card.send(kPlainHeader + frameFrom(kOwn, 100));
  EXPECT(!card.driver->wait(0) && !card.driver->needsReset() && card.net->counts().notSent == 1);
}

TEST(net_refuses_what_is_no_card) {
  NetOptions options;
  options.mtu = 67;
  EXPECT(Net::create(std::move(options)).error().err == EINVAL);
  NetOptions group;
  group.address[0] = 1;
  EXPECT(Net::create(std::move(group)).error().err == EINVAL);
}

}  // namespace bulkhead::vm
