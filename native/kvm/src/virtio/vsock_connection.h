// One stream between a guest's port and a Unix socket of the host.
#pragma once

#include <sys/uio.h>

#include <string>
#include <vector>

#include "virtio/interest.h"
#include "virtio/vsock_packet.h"

namespace bulkhead::vm {

/** The guest's port and the host's. */
struct VsockPorts {
  uint32_t guest = 0;
  uint32_t host = 0;
  auto operator<=>(const VsockPorts&) const = default;
};

/**
 * Bytes and credits. What the guest sends goes to the socket, or waits in a buffer that the guest was told the size of;
 * what the socket has is read only when the guest said that it has room.
 */
class VsockConnection {
 public:
  static constexpr uint32_t kBufferBytes = 256 * 1024;
  /** Of a greeting: "CONNECT ", a number, and the end of its line. */
  static constexpr size_t kGreetingBytes = 32;
  enum class Stage {
    /** The host's program has not said yet which port it wants. */
    greeting,
    /** The guest has not answered yet. */
    requested,
    open,
  };

  VsockConnection(Fd stream, Stage stage, VsockPorts ports) : stage(stage), ports(ports), stream_(std::move(stream)) {}

  enum class Greeting { incomplete, complete, wrong };
  /** Reads "CONNECT <port>\n" and nothing behind it. */
  Greeting readGreeting(uint32_t* port);
  /** Says "OK <port>\n"; false when the program is gone. */
  bool answerGreeting() const;

  /** What the guest says of itself in every packet. */
  void credit(const VsockHeader& header);
  /** How much the guest takes now. */
  uint32_t room() const;
  /** Takes a packet's bytes; false when the guest sent more than it was allowed, or the program is gone. */
  bool take(Span<const iovec> pieces, uint32_t sizeBytes);
  /** Passes on what waits; false when the program is gone. */
  bool flush();
  /** Reads for the guest, at most `room`. 0 is the end, -1 that there is nothing now, -2 that the program is gone. */
  long read(iovec* pieces, uint32_t count);
  /** The guest will send no more: the program is told when it has everything. */
  void endSending();
  /** The program has closed its end, both ways. */
  bool hungUp() const;
  /** Fills the fields of a packet that say what this side can take. */
  void describe(VsockHeader* header);
  /** The guest believes in less than half the room that there is. */
  bool owesCredit() const { return forwarded_ - told_ > kBufferBytes / 2; }
  bool waiting() const { return !buffer_.empty(); }

  Stage stage;
  VsockPorts ports;
  Interest interest;
  /** The socket has, or may have, something to read. */
  bool readable = true;
  /** The guest takes no more, or the program sends no more. */
  bool readingEnded = false;
  bool guestSendingEnded = false;
  /** The guest has closed it: it ends when the program has everything. */
  bool closing = false;
  int fd() const { return stream_.get(); }

 private:
  Fd stream_;
  std::string greeting_;
  std::vector<uint8_t> buffer_;
  uint32_t received_ = 0;
  uint32_t forwarded_ = 0;
  uint32_t told_ = 0;
  uint32_t sent_ = 0;
  uint32_t guestBufferBytes_ = 0;
  uint32_t guestForwarded_ = 0;
};

}  // namespace bulkhead::vm
