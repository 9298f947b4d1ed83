#include "vhost/front_end.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

Error broken(std::string_view rule) {
  return failure("vhost-user", EPROTO, rule);
}

/** A socket's own time limit ends a call so. */
int late(int error) {
  return error == EAGAIN ? ETIMEDOUT : error;
}

}  // namespace

Result<VhostFrontEnd> VhostFrontEnd::create(Fd socket, uint64_t features, uint32_t patienceMs) {
  const struct timeval patience = {.tv_sec = patienceMs / 1000, .tv_usec = patienceMs % 1000 * 1000};
  for (const int direction : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    TRY(sys::check("setsockopt",
                   [&] { return setsockopt(socket.get(), SOL_SOCKET, direction, &patience, sizeof patience); }));
  }
  VhostFrontEnd end(std::move(socket));
  TRY(end.send(VhostRequest::setOwner, 0, nullptr, 0));
  const uint64_t needed = features | kVhostProtocolFeatures;
  if ((TRY(end.askNumber(VhostRequest::getFeatures)) & needed) != needed) {
    return failure("vhost-user", EPROTONOSUPPORT, "features of the device");
  }
  if ((TRY(end.askNumber(VhostRequest::getProtocolFeatures)) & kVhostReplyAck) == 0) {
    return failure("vhost-user", EPROTONOSUPPORT, "REPLY_ACK");
  }
  TRY(end.send(VhostRequest::setProtocolFeatures, 0, &kVhostReplyAck, sizeof kVhostReplyAck));
  return end;
}

Status VhostFrontEnd::begin(uint64_t features, const GuestMemory& memory) {
  if (!memory.file().valid()) return failure("vhost-user", EOPNOTSUPP, "memory that is not shared");
  TRY(order(VhostRequest::setFeatures, features | kVhostProtocolFeatures));
  VhostMemoryTable table = {};
  for (const Region& region : memory.regions()) {
    const auto host = reinterpret_cast<uint64_t>(region.host);
    const auto offset = static_cast<uint64_t>(region.host - memory.host());
    table.regions[table.count++] = {region.address, region.sizeBytes, host, offset};
  }
  const uint32_t unused = (kVhostMaxRegions - table.count) * sizeof(VhostRegion);
  TRY(send(VhostRequest::setMemoryTable, kVhostNeedsReply, &table, sizeof table - unused, memory.file().get(),
           table.count));
  uint64_t failed = 1;
  TRY(receive(VhostRequest::setMemoryTable, &failed, sizeof failed));
  return failed == 0 ? Status(Done{}) : broken("the memory was refused");
}

Status VhostFrontEnd::start(uint32_t index, const QueueSetup& setup, const GuestMemory& memory, const EventFd& kick,
                            const EventFd& call) {
  const auto host = [&](uint64_t address) { return reinterpret_cast<uint64_t>(memory.at(address, 1)); };
  TRY(order(VhostRequest::setRingSize, VhostRingState{index, setup.size}));
  TRY(order(VhostRequest::setRingBase, VhostRingState{index, 0}));
  TRY(order(VhostRequest::setRingAddresses,
            VhostRingAddresses{index, 0, host(setup.descriptors), host(setup.used), host(setup.available), 0}));
  TRY(order(VhostRequest::setRingCall, uint64_t{index}, call.get()));
  TRY(order(VhostRequest::setRingKick, uint64_t{index}, kick.get()));
  return order(VhostRequest::setRingEnabled, VhostRingState{index, 1});
}

Status VhostFrontEnd::stop(uint32_t index) {
  const VhostRingState asked = {index, 0};
  TRY(send(VhostRequest::getRingBase, 0, &asked, sizeof asked));
  VhostRingState base;
  TRY(receive(VhostRequest::getRingBase, &base, sizeof base));
  return base.index == index ? Status(Done{}) : broken("another queue than the one that was asked for");
}

Status VhostFrontEnd::send(VhostRequest request, uint32_t flags, const void* payload, uint32_t sizeBytes, int fd,
                           uint32_t copies) const {
  VhostHeader header = {request, kVhostVersion | flags, sizeBytes};
  struct iovec parts[] = {{&header, sizeof header}, {const_cast<void*>(payload), sizeBytes}};
  struct msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * kVhostMaxRegions)] = {};
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof fd * copies);
    struct cmsghdr* passed = CMSG_FIRSTHDR(&message);
    passed->cmsg_level = SOL_SOCKET;
    passed->cmsg_type = SCM_RIGHTS;
    passed->cmsg_len = CMSG_LEN(sizeof fd * copies);
    for (uint32_t copy = 0; copy < copies; ++copy) memcpy(CMSG_DATA(passed) + copy * sizeof fd, &fd, sizeof fd);
  }
  const long sent = sys::retry([&] { return sendmsg(socket_.get(), &message, MSG_NOSIGNAL); });
  if (sent < 0) return failure("vhost-user", late(errno), "sendmsg");
  // It would be a back end that reads some bytes and then nothing for as long as it may.
  if (static_cast<size_t>(sent) != sizeof header + sizeBytes) return failure("vhost-user", ETIMEDOUT, "sendmsg");
  return Done{};
}

Status VhostFrontEnd::receive(VhostRequest request, void* payload, uint32_t sizeBytes) const {
  const auto take = [&](void* to, size_t size) -> Status {
    // One time limit for all of it, however it is cut.
    const long got = sys::retry([&] { return recv(socket_.get(), to, size, MSG_WAITALL); });
    if (got < 0) return failure("vhost-user", late(errno), "recv");
    if (got == 0) return failure("vhost-user", ECONNRESET);
    return static_cast<size_t>(got) == size ? Status(Done{}) : broken("an answer that is cut");
  };
  VhostHeader header;
  TRY(take(&header, sizeof header));
  if (header.request != request) return broken("an answer to another request");
  if ((header.flags & (kVhostVersionBits | kVhostIsReply)) != (kVhostVersion | kVhostIsReply)) {
    return broken("an answer's flags");
  }
  if (header.sizeBytes != sizeBytes) return broken("an answer's size");
  return take(payload, sizeBytes);
}

template <class Payload>
Status VhostFrontEnd::order(VhostRequest request, const Payload& payload, int fd, uint32_t copies) const {
  TRY(send(request, kVhostNeedsReply, &payload, sizeof payload, fd, copies));
  uint64_t failed = 1;
  TRY(receive(request, &failed, sizeof failed));
  return failed == 0 ? Status(Done{}) : broken("a request was refused");
}

Result<uint64_t> VhostFrontEnd::askNumber(VhostRequest request) const {
  TRY(send(request, 0, nullptr, 0));
  uint64_t number = 0;
  TRY(receive(request, &number, sizeof number));
  return number;
}

}  // namespace bulkhead::vm
