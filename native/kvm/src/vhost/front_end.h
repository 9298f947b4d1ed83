// The front end of vhost-user: this process has the device's registers, another one serves its queues in the guest's
// memory.
#pragma once

#include <vector>

#include "events/event_fd.h"
#include "memory/guest_memory.h"
#include "vhost/message.h"
#include "virtio/queue.h"

namespace bulkhead::vm {

/**
 * A connection to a back end, which is not trusted: each of its words is of one length and comes in time, or it is no
 * back end any more. What it does in the guest's memory is its guest's.
 */
class VhostFrontEnd {
 public:
  /** How long an answer may take, in milliseconds. */
  static constexpr uint32_t kPatienceMs = 10'000;

  /**
   * Agrees on the protocol. `socket` is connected, `features` are those without which it is of no use.
   * @returns EPROTO for an answer that is none, EPROTONOSUPPORT, ETIMEDOUT
   */
  static Result<VhostFrontEnd> create(Fd socket, uint64_t features, uint32_t patienceMs);

  /** The features that the driver accepted, and the whole of the guest's memory. @returns EOPNOTSUPP without a file */
  Status begin(uint64_t features, const GuestMemory& memory);
  /** From here on the back end serves the queue: `kick` tells it of requests, it tells of answers by `call`. */
  Status start(uint32_t index, const QueueSetup& setup, const GuestMemory& memory, const EventFd& kick,
               const EventFd& call);
  /** When it returns, the back end is not at the queue any more. */
  Status stop(uint32_t index);

  /** Readable when the back end is gone, or says what nobody asked. */
  int socket() const { return socket_.get(); }

 private:
  explicit VhostFrontEnd(Fd socket) : socket_(std::move(socket)) {}
  Status send(VhostRequest request, uint32_t flags, const void* payload, uint32_t sizeBytes, int fd = -1,
              uint32_t copies = 1) const;
  Status receive(VhostRequest request, void* payload, uint32_t sizeBytes) const;
  /** A request that the back end says to have done. */
  template <class Payload>
  Status order(VhostRequest request, const Payload& payload, int fd = -1, uint32_t copies = 1) const;
  /** A request that has an answer of its own. */
  Result<uint64_t> askNumber(VhostRequest request) const;

  Fd socket_;
};

}  // namespace bulkhead::vm
