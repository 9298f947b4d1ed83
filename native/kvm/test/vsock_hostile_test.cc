// virtio-vsock against guests and programs that break the rules, or wait for ever.
#include <cerrno>

#include "vsock_bridge.h"

namespace bulkhead::vm {

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

TEST(vsock_addresses_and_paths_that_cannot_be_are_refused) {
  for (const uint64_t cid : {uint64_t{0}, uint64_t{2}, uint64_t{0xffffffff}}) {
    EXPECT(Vsock::create({.cid = cid, .listener = Fd(), .path = ""}).error().err == EINVAL);
  }
  EXPECT(Vsock::create({.cid = 3, .listener = Fd(), .path = std::string(100, 'p')}).error().err == ENAMETOOLONG);
}

}  // namespace bulkhead::vm
