// virtio-vsock against guests and programs that break the rules, or wait for ever.
#include <fcntl.h>
#include <sys/resource.h>

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

TEST(vsock_packets_at_the_edges_of_ram_end_there) {
  constexpr uint64_t kEnd = 4 * layout::kMiB;
  VsockHeader header;
  header.sourceCid = kCid;
  header.destinationCid = kVsockHost;
  header.operation = Operation::request;
  header.destinationPort = 7;
  // A header that ends with RAM, and one in two buffers of which the second does.
  Bridge bridge;
  bridge.post(2);
  bridge.driver->memory.write(kEnd - sizeof header, header);
  bridge.driver->add(kSend, {{kEnd - sizeof header, sizeof header}});
  bridge.driver->ring(kSend);
  EXPECT(bridge.isNext(Operation::reset));
  bridge.driver->add(kSend, {{kEnd - sizeof header, 20}, {kEnd - sizeof header + 20, sizeof header - 20}});
  bridge.driver->ring(kSend);
  EXPECT(bridge.isNext(Operation::reset));
  // One byte further, for header, data, and what is received.
  for (const uint32_t queue : {kSend, kReceive}) {
    Bridge broken;
    broken.driver->add(queue, {{kEnd - sizeof header, sizeof header + 1, queue == kReceive}});
    broken.driver->ring(queue);
    broken.send(Operation::data, {1, 2});
    EXPECT(broken.driver->needsReset());
  }
  Bridge broken;
  broken.driver->memory.write(Driver::kData, header);
  broken.driver->add(kSend, {{Driver::kData, sizeof header}, {kEnd - 8, 9}});
  broken.driver->ring(kSend);
  EXPECT(broken.driver->needsReset());
}

TEST(vsock_credit_that_lies_costs_its_own_stream_only) {
  Bridge bridge;
  bridge.post(8);
  const Fd lied = bridge.open(2000);
  const Fd honest = bridge.open(3000);
  const std::string text(5000, 't');
  VsockHeader update;
  update.sourceCid = kCid;
  update.destinationCid = kVsockHost;
  update.sourcePort = 2000;
  update.destinationPort = 5;
  update.operation = Operation::creditUpdate;
  for (const uint32_t buffer : {0u, 1u, 0x7fffffffu, 0x80000000u, ~0u}) {
    for (const uint32_t forwarded : {0u, 1u, 4999u, 5001u, 0x80000000u, ~0u}) {
      update.bufferBytes = buffer;
      update.forwardedBytes = forwarded;
      bridge.send(update);
      (void)::send(lied.get(), text.data(), 100, MSG_DONTWAIT);
      // However much it says it can hold, a packet is as large as the buffer that it gave.
      for (Packet packet = bridge.next(); packet.header.destinationCid == kCid; packet = bridge.next()) {
        EXPECT(packet.data.size() + sizeof(VsockHeader) <= 4096 && packet.data.size() <= buffer);
        bridge.post(1);
      }
      EXPECT(!bridge.driver->needsReset());
    }
  }
  EXPECT(::send(honest.get(), "still here", 10, 0) == 10);
  std::string heard;
  for (Packet packet = bridge.next(); packet.header.destinationCid == kCid; packet = bridge.next()) {
    if (packet.header.destinationPort == 3000) heard += packet.data;
    bridge.post(1);
  }
  EXPECT_TEXT(heard, "still here");
}

TEST(vsock_has_so_many_streams_and_no_more) {
  // Two descriptors for each.
  struct rlimit files = {};
  EXPECT(getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max;
  EXPECT(setrlimit(RLIMIT_NOFILE, &files) == 0);
  Bridge bridge;
  const Fd listener = listenAt(bridge.path + "_5");
  EXPECT(fcntl(listener.get(), F_SETFL, O_NONBLOCK) == 0);
  std::vector<Fd> programs;
  for (uint32_t port = 0; port < Vsock::kMaxConnections + 50; ++port) {
    bridge.post(1);
    bridge.send(Operation::request, {port, 5});
    Fd program(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const bool room = port < Vsock::kMaxConnections;
    EXPECT(program.valid() == room && bridge.isNext(room ? Operation::response : Operation::reset));
    programs.push_back(std::move(program));
  }
  EXPECT(bridge.vsock->connectionCount() == Vsock::kMaxConnections);
}

TEST(vsock_addresses_and_paths_that_cannot_be_are_refused) {
  for (const uint64_t cid : {uint64_t{0}, uint64_t{2}, uint64_t{0xffffffff}}) {
    EXPECT(Vsock::create({.cid = cid, .listener = Fd(), .path = ""}).error().err == EINVAL);
  }
  EXPECT(Vsock::create({.cid = 3, .listener = Fd(), .path = std::string(100, 'p')}).error().err == ENAMETOOLONG);
}

}  // namespace bulkhead::vm
