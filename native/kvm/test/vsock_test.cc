// virtio-vsock: streams both ways, their ends and their credit.
#include "vsock_bridge.h"

namespace bulkhead::vm {

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

TEST(vsock_reset_closes_every_stream) {
  Bridge bridge;
  bridge.post(8);
  const Fd program = bridge.open(2000);
  bridge.driver->set(0x70, 0);
  EXPECT(bridge.vsock->connectionCount() == 0);
  EXPECT_TEXT(readAll(program), "");
}

}  // namespace bulkhead::vm
