// virtio-vsock, between a driver's packets and real Unix sockets.
#include "virtio/vsock.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdlib>

#include "driver.h"
#include "runner.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {
namespace {

constexpr uint32_t kReceive = 0;
constexpr uint32_t kSend = 1;
constexpr uint64_t kCid = 3;
constexpr uint32_t kRoom = 1 << 20;
using Operation = VsockOperation;

sockaddr_un addressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Fd listenAt(const std::string& path) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = addressOf(path);
  EXPECT(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  EXPECT(listen(fd.get(), 16) == 0);
  return fd;
}

struct Packet {
  VsockHeader header;
  std::string data;
};

struct Bridge {
  char directory[32] = "/tmp/kvm-vsock-XXXXXX";
  std::string path;
  Vsock* vsock = nullptr;
  std::unique_ptr<Driver> driver;
  uint16_t taken = 0;
  uint16_t posted = 0;

  Bridge() {
    EXPECT(mkdtemp(directory) != nullptr);
    path = std::string(directory) + "/vsock";
    auto made = Vsock::create({.cid = kCid, .listener = listenAt(path), .path = path}).take();
    vsock = made.get();
    driver = std::make_unique<Driver>(std::move(made));
    driver->start();
    settle();
  }
  ~Bridge() {
    for (const char* suffix : {"", "_5", "_6"}) unlink((path + suffix).c_str());
    rmdir(directory);
  }
  void settle() {
    while (driver->wait(0)) continue;
  }
  /** Buffers for so many packets. */
  void post(uint16_t count, uint32_t sizeBytes = 4096) {
    for (; count > 0; --count, ++posted) {
      const auto place = static_cast<uint16_t>(posted % Driver::kQueueSize);
      driver->add(kReceive, {{Driver::kData + 0x10000 + place * 0x1000u, sizeBytes, true}}, place);
    }
    driver->ring(kReceive);
    settle();
  }
  void send(Operation operation, VsockPorts ports, const std::string& data = "", uint32_t flags = 0) {
    VsockHeader header;
    header.sourceCid = kCid;
    header.destinationCid = kVsockHost;
    header.sourcePort = ports.guest;
    header.destinationPort = ports.host;
    header.sizeBytes = static_cast<uint32_t>(data.size());
    header.operation = operation;
    header.flags = flags;
    header.bufferBytes = kRoom;
    send(header, data);
  }
  void send(const VsockHeader& header, const std::string& data = "") {
    driver->memory.write(Driver::kData, header);
    if (!data.empty()) driver->put(Driver::kData + sizeof header, data);
    driver->add(kSend, {{Driver::kData, static_cast<uint32_t>(sizeof header + data.size())}});
    driver->ring(kSend);
    settle();
  }
  /** The next packet that the guest has got; a `reset` from port 0 when there is none. */
  Packet next() {
    settle();
    Packet packet;
    if (driver->usedCount(kReceive) == taken) return packet;
    const Used used = driver->usedAt(kReceive, taken++);
    const uint64_t address = Driver::kData + 0x10000 + used.head * 0x1000u;
    driver->memory.read(address, &packet.header);
    EXPECT(used.sizeBytes == sizeof packet.header + packet.header.sizeBytes);
    packet.data = driver->get(address + sizeof packet.header, packet.header.sizeBytes);
    return packet;
  }
  bool isNext(Operation operation) {
    const Packet packet = next();
    return packet.header.destinationCid == kCid && packet.header.operation == operation;
  }
  /** A program that connects and says which port it wants. */
  Fd greet(std::string_view greeting) {
    Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = addressOf(path);
    EXPECT(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    EXPECT(::send(fd.get(), greeting.data(), greeting.size(), 0) == static_cast<ssize_t>(greeting.size()));
    settle();
    return fd;
  }
  /** An open stream from the guest to a program that listens at the host's port 5. */
  Fd open(uint32_t guestPort) {
    Fd listener = listenAt(path + "_5");
    send(Operation::request, {guestPort, 5});
    EXPECT(isNext(Operation::response));
    Fd stream(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    unlink((path + "_5").c_str());
    return stream;
  }
};

std::string readAll(const Fd& fd) {
  char bytes[8192];
  const ssize_t size = recv(fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
  return size < 0 ? "nothing" : std::string(bytes, static_cast<size_t>(size));
}

}  // namespace

TEST(vsock_carries_a_program_s_stream_to_the_guest) {
  Bridge bridge;
  bridge.post(8);
  const Fd program = bridge.greet("CONNECT 1024\nfirst");
  const Packet asked = bridge.next();
  EXPECT(asked.header.operation == Operation::request && asked.header.destinationPort == 1024);
  const VsockPorts ports = {1024, asked.header.sourcePort};
  bridge.send(Operation::response, ports);
  EXPECT_TEXT(readAll(program), "OK " + std::to_string(ports.host) + "\n");
  EXPECT_TEXT(bridge.next().data, "first");
  bridge.send(Operation::data, ports, "reply");
  EXPECT_TEXT(readAll(program), "reply");
  // The guest closes: the program reads its end, the guest hears that nothing is left.
  bridge.send(Operation::shutdown, ports, "", kVsockNoReceive | kVsockNoSend);
  EXPECT(bridge.isNext(Operation::reset) && bridge.vsock->connectionCount() == 0);
  EXPECT_TEXT(readAll(program), "");
}

TEST(vsock_carries_the_guest_s_stream_to_a_program) {
  Bridge bridge;
  bridge.post(8);
  Fd program = bridge.open(2000);
  bridge.send(Operation::data, {2000, 5}, "hello");
  EXPECT_TEXT(readAll(program), "hello");
  EXPECT(::send(program.get(), "world", 5, 0) == 5);
  EXPECT_TEXT(bridge.next().data, "world");
  // One direction ends, the other goes on.
  bridge.send(Operation::shutdown, {2000, 5}, "", kVsockNoSend);
  EXPECT_TEXT(readAll(program), "");
  EXPECT(::send(program.get(), "more", 4, 0) == 4);
  EXPECT_TEXT(bridge.next().data, "more");
  EXPECT(shutdown(program.get(), SHUT_WR) == 0);
  const Packet end = bridge.next();
  EXPECT(end.header.operation == Operation::shutdown);
}

TEST(vsock_program_that_closes_is_told_to_the_guest) {
  Bridge bridge;
  bridge.post(8);
  Fd program = bridge.open(2000);
  EXPECT(::send(program.get(), "last", 4, 0) == 4);
  program.reset();
  EXPECT_TEXT(bridge.next().data, "last");
  const Packet end = bridge.next();
  EXPECT(end.header.operation == Operation::shutdown && end.header.flags == 3);
  // Its answer is for nobody, and is not answered.
  bridge.send(Operation::reset, {2000, 5});
  EXPECT(bridge.vsock->connectionCount() == 0 && bridge.next().header.destinationCid == 0);
}

TEST(vsock_refuses_connections_to_nobody) {
  Bridge bridge;
  bridge.post(8);
  bridge.send(Operation::request, {2000, 7});
  EXPECT(bridge.isNext(Operation::reset));
  // Data, answers and anything unknown for a stream that is none; a reset is not answered.
  for (const Operation operation : {Operation::data, Operation::response, static_cast<Operation>(99)}) {
    bridge.send(operation, {2000, 7});
    EXPECT(bridge.isNext(Operation::reset));
  }
  bridge.send(Operation::reset, {2000, 7});
  EXPECT(bridge.next().header.destinationCid == 0);
}

TEST(vsock_believes_no_other_address) {
  Bridge bridge;
  bridge.post(4);
  VsockHeader header;
  header.sourceCid = 4;
  header.destinationCid = kVsockHost;
  header.operation = Operation::request;
  bridge.send(header);
  EXPECT(bridge.next().header.destinationCid == 0);
  header.sourceCid = kCid;
  header.destinationCid = 9;
  bridge.send(header);
  EXPECT(bridge.isNext(Operation::reset));
  header.destinationCid = kVsockHost;
  header.type = 2;
  bridge.send(header);
  EXPECT(bridge.isNext(Operation::reset));
}

TEST(vsock_greetings_that_are_wrong_are_hung_up_on) {
  Bridge bridge;
  bridge.post(4);
  for (const char* wrong : {"HELLO\n", "CONNECT x\n", "CONNECT 4294967296\n", "CONNECT \n",
                            "CONNECT 0000000000000000000000000000000000000001\n"}) {
    const Fd program = bridge.greet(wrong);
    EXPECT_THAT(bridge.vsock->connectionCount() == 0, wrong);
  }
  // Half a greeting wakes nobody again and again.
  const Fd slow = bridge.greet("CONN");
  EXPECT(!bridge.driver->wait(0) && bridge.vsock->connectionCount() == 1);
  EXPECT(::send(slow.get(), "ECT 9\n", 6, 0) == 6);
  EXPECT(bridge.isNext(Operation::request));
}

TEST(vsock_program_that_does_not_wait_for_the_guest_is_forgotten) {
  Bridge bridge;
  bridge.post(4);
  Fd program = bridge.greet("CONNECT 9\n");
  EXPECT(bridge.isNext(Operation::request));
  program.reset();
  EXPECT(bridge.isNext(Operation::reset) && bridge.vsock->connectionCount() == 0);
}

TEST(vsock_gives_a_guest_no_more_than_it_has_room_for) {
  Bridge bridge;
  bridge.post(8);
  Fd program = bridge.open(2000);
  VsockHeader update;
  update.sourceCid = kCid;
  update.destinationCid = kVsockHost;
  update.sourcePort = 2000;
  update.destinationPort = 5;
  update.operation = Operation::creditUpdate;
  update.bufferBytes = 10;
  bridge.send(update);
  const std::string text(25, 't');
  EXPECT(::send(program.get(), text.data(), text.size(), 0) == 25);
  EXPECT(bridge.next().data.size() == 10 && bridge.next().header.destinationCid == 0);
  update.forwardedBytes = 10;
  bridge.send(update);
  EXPECT(bridge.next().data.size() == 10);
  // One that says that it passed on more than there was gets nothing.
  update.forwardedBytes = 21;
  bridge.send(update);
  EXPECT(bridge.next().header.destinationCid == 0);
  update.forwardedBytes = 20;
  bridge.send(update);
  EXPECT(bridge.next().data.size() == 5);
}

TEST(vsock_keeps_what_a_program_does_not_read_and_no_more) {
  Bridge bridge;
  bridge.post(8);
  const Fd program = bridge.open(2000);
  const std::string part(60'000, 'p');
  // Until the program's socket and our buffer are full: then the guest has sent more than it may.
  int sent = 0;
  for (; bridge.vsock->connectionCount() == 1 && sent < 100; ++sent) bridge.send(Operation::data, {2000, 5}, part);
  EXPECT(sent > 4 && sent < 100);
  Packet last = bridge.next();
  while (last.header.operation == Operation::creditUpdate) last = bridge.next();
  EXPECT(last.header.destinationCid == kCid && last.header.operation == Operation::reset);
}

TEST(vsock_tells_the_guest_when_there_is_room_again) {
  Bridge bridge;
  bridge.post(8);
  const Fd program = bridge.open(2000);
  const std::string part(50'000, 'p');
  uint32_t forwarded = 0;
  std::string got;
  for (int count = 0; count < 40; ++count) {
    bridge.send(Operation::data, {2000, 5}, part);
    char bytes[65536];
    const ssize_t size = recv(program.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (size > 0) got.append(bytes, static_cast<size_t>(size));
    const Packet packet = bridge.next();
    if (packet.header.destinationCid == 0) continue;
    EXPECT(packet.header.operation == Operation::creditUpdate && packet.header.forwardedBytes > forwarded);
    forwarded = packet.header.forwardedBytes;
    bridge.post(1);
  }
  EXPECT(forwarded > 1'000'000 && got == std::string(got.size(), 'p'));
  bridge.send(Operation::creditRequest, {2000, 5});
  EXPECT(bridge.isNext(Operation::creditUpdate));
}

TEST(vsock_answers_wait_for_buffers_and_then_the_guest_waits) {
  Bridge bridge;
  for (size_t count = 0; count < Vsock::kMaxReplies; ++count) bridge.send(Operation::request, {2000, 7});
  const uint16_t taken = bridge.driver->usedCount(kSend);
  EXPECT(taken == Vsock::kMaxReplies);
  bridge.send(Operation::request, {2000, 7});
  EXPECT(bridge.driver->usedCount(kSend) == taken);
  bridge.post(2);
  EXPECT(bridge.isNext(Operation::reset) && bridge.isNext(Operation::reset));
  EXPECT(bridge.driver->usedCount(kSend) == taken + 1);
}

TEST(vsock_takes_turns) {
  Bridge bridge;
  bridge.post(2);
  const Fd first = bridge.open(1);
  const Fd second = bridge.open(2);
  const std::string text(20'000, 't');
  for (const Fd* program : {&first, &second}) {
    EXPECT(::send(program->get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  }
  // Both have something before there is a buffer for it.
  bridge.settle();
  bridge.post(6);
  uint32_t last = bridge.next().header.destinationPort;
  for (uint32_t count = 1; count < 6; ++count) {
    const uint32_t port = bridge.next().header.destinationPort;
    EXPECT(port == 3 - last);
    last = port;
  }
}

TEST(vsock_packets_that_lie_stop_the_device) {
  for (const uint32_t claimed : {1u, ~0u}) {
    Bridge bridge;
    VsockHeader header;
    header.sourceCid = kCid;
    header.sizeBytes = claimed;
    bridge.send(header);
    EXPECT(bridge.driver->needsReset());
  }
  Bridge bridge;
  bridge.driver->add(kSend, {{Driver::kData, 43}});
  bridge.driver->ring(kSend);
  EXPECT(bridge.driver->needsReset());
  bridge.driver->start();
  bridge.post(1, sizeof(VsockHeader));
  bridge.send(Operation::data, {1, 2});
  EXPECT(bridge.driver->needsReset());
}

TEST(vsock_reset_closes_every_stream) {
  Bridge bridge;
  bridge.post(8);
  const Fd program = bridge.open(2000);
  bridge.driver->set(0x70, 0);
  EXPECT(bridge.vsock->connectionCount() == 0);
  EXPECT_TEXT(readAll(program), "");
}

TEST(vsock_addresses_and_paths_that_cannot_be_are_refused) {
  for (const uint64_t cid : {uint64_t{0}, uint64_t{2}, uint64_t{0xffffffff}}) {
    EXPECT(Vsock::create({.cid = cid, .listener = Fd(), .path = ""}).error().err == EINVAL);
  }
  EXPECT(Vsock::create({.cid = 3, .listener = Fd(), .path = std::string(100, 'p')}).error().err == ENAMETOOLONG);
}

}  // namespace bulkhead::vm
