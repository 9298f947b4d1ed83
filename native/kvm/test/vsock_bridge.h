// A vsock between a driver and real Unix sockets, for tests.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>

#include "driver.h"
#include "runner.h"
#include "sys/retry.h"
#include "sys/syscalls.h"
#include "virtio/vsock.h"

namespace bulkhead::vm {

inline constexpr uint32_t kReceive = 0;
inline constexpr uint32_t kSend = 1;
inline constexpr uint64_t kCid = 3;
inline constexpr uint32_t kRoom = 1 << 20;
using Operation = VsockOperation;

inline sockaddr_un addressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

inline Fd listenAt(const std::string& path) {
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

inline std::string readAll(const Fd& fd) {
  char bytes[8192];
  const ssize_t size = recv(fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
  return size < 0 ? "nothing" : std::string(bytes, static_cast<size_t>(size));
}

}  // namespace bulkhead::vm
