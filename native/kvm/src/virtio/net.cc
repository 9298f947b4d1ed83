#include "virtio/net.h"

#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "sys/retry.h"
#include "virtio/net_frame.h"

namespace bulkhead::vm {
namespace {

constexpr uint32_t kReceive = 0;
constexpr uint32_t kSend = 1;
constexpr uint64_t kFramesToken = 0;
constexpr uint64_t kSendingToken = 1;
constexpr uint64_t kReceivingToken = 2;

enum FeatureBit : uint32_t {
  kChecksum = 0,
  kGuestChecksum = 1,
  kMtu = 3,
  kMac = 5,
  kGuestTso4 = 7,
  kGuestTso6 = 8,
  kHostTso4 = 11,
  kHostTso6 = 12,
  kMergeable = 15,
  kStatus = 16,
};
constexpr FeatureBit kOffered[] = {kChecksum,  kGuestChecksum, kMtu,      kMac,       kGuestTso4,
                                   kGuestTso6, kHostTso4,      kHostTso6, kMergeable, kStatus};

/** Where finding buffers for any frame there can be costs less than copying one. */
constexpr size_t kLargeBytes = 8 * 1024;
/** IPv4's least, and what fits a frame's length. */
constexpr uint16_t kMinMtu = 68;

/** A socket has no offloads to set and no header to agree on. */
Result<bool> isTap(int fd) {
  struct ifreq request = {};
  if (ioctl(fd, TUNGETIFF, &request) != 0) return false;
  if ((request.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) != (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) {
    return failure("tap device", EINVAL, "without IFF_TAP, IFF_NO_PI and IFF_VNET_HDR");
  }
  int size = sizeof(NetHeader);
  TRY(sys::check("ioctl TUNSETVNETHDRSZ", [&] { return ioctl(fd, TUNSETVNETHDRSZ, &size); }));
  return true;
}

/** A descriptor that others share may be one that waits. */
bool isReady(int fd, short events) {
  struct pollfd ready = {fd, events, 0};
  return poll(&ready, 1, 0) == 1 && (ready.revents & events) != 0;
}

}  // namespace

Result<std::unique_ptr<Net>> Net::create(NetOptions options) {
  if (options.mtu < kMinMtu) return failure("network card", EINVAL, "its MTU is below 68");
  if ((options.address[0] & 1) != 0) return failure("network card", EINVAL, "its address is a group's");
  const bool tap = TRY(isTap(options.frames.get()));
  RateLimit sending = TRY(RateLimit::create(options.sending));
  RateLimit receiving = TRY(RateLimit::create(options.receiving));
  return std::unique_ptr<Net>(new Net(std::move(options), std::move(sending), std::move(receiving), tap));
}

Net::Net(NetOptions options, RateLimit sending, RateLimit receiving, bool tap)
    : options_(std::move(options)),
      sending_(std::move(sending)),
      receiving_(std::move(receiving)),
      tap_(tap),
      frame_(sizeof(NetHeader) + kMaxFrameBytes) {
  config_.address = options_.address;
  config_.mtu = options_.mtu;
}

uint64_t Net::features() const {
  uint64_t bits = 0;
  for (const FeatureBit bit : kOffered) bits |= uint64_t{1} << bit;
  return bits;
}

Status Net::activate() {
  if (tap_) {
    unsigned offloads = 0;
    if (carrier().hasFeature(kGuestChecksum)) offloads |= TUN_F_CSUM;
    // The kernel takes these only with the one above, as virtio does.
    if (carrier().hasFeature(kGuestTso4)) offloads |= TUN_F_TSO4;
    if (carrier().hasFeature(kGuestTso6)) offloads |= TUN_F_TSO6;
    TRY(sys::check("ioctl TUNSETOFFLOAD", [&] { return ioctl(options_.frames.get(), TUNSETOFFLOAD, offloads); }));
  }
  TRY(sending_.watch(&carrier(), kSendingToken));
  return receiving_.watch(&carrier(), kReceivingToken);
}

void Net::reset() {
  sending_.forget(&carrier());
  receiving_.forget(&carrier());
  // Forgetting cannot fail.
  (void)interest_.set(&carrier(), options_.frames.get(), 0, kFramesToken).ok();
  frameBytes_ = 0;
}

Status Net::onDoorbell(uint32_t queue) {
  return queue == kSend ? send() : receive();
}

Status Net::onHost(uint64_t token, uint32_t) {
  if (token == kSendingToken) {
    sending_.rang();
    return send();
  }
  if (token == kReceivingToken) receiving_.rang();
  return receive();
}

Status Net::send() {
  return carrier().drain(kSend, [&](const Chain& chain) -> Result<bool> {
    if (!sending_.admit(chain.readableBytes())) return false;
    const Sent sent = sendFrame(chain);
    ++(sent == Sent::yes ? counts_.sent : sent == Sent::no ? counts_.notSent : counts_.refused);
    carrier().queue(kSend).push(chain.head(), 0);
    // The driver's ring is full of few large frames, and it goes on when it hears of the first of them.
    carrier().tell(kSend);
    return true;
  });
}

/** What is checked is what is sent: header and addresses are copied first. */
Net::Sent Net::sendFrame(const Chain& chain) {
  struct [[gnu::packed]] {
    NetHeader header;
    uint8_t ethernet[kEthernetBytes];
  } start;
  const size_t size = chain.readableBytes();
  bool good = chain.read(0, &start) && size <= sizeof(NetHeader) + kMaxFrameBytes;
  if (good) {
    const NetHeader& header = start.header;
    start.header.buffers = 0;
    good = (header.flags & ~kNeedsChecksum) == 0 && (header.flags == 0 || carrier().hasFeature(kChecksum)) &&
           (header.segmentation == kNoSegmentation ||
            (header.segmentation == kSegmentTcp4 && carrier().hasFeature(kHostTso4)) ||
            (header.segmentation == kSegmentTcp6 && carrier().hasFeature(kHostTso6))) &&
           memcmp(start.ethernet + kSourceAt, options_.address.data(), options_.address.size()) == 0;
  }
  if (!good) return Sent::refused;
  iovec pieces[Chain::kMaxSegments];
  const uint32_t count = slice(chain.readable(), sizeof start, size, pieces);
  iovec whole[Chain::kMaxSegments + 1];
  whole[0] = {&start, sizeof start};
  std::copy(pieces, pieces + count, whole + 1);
  return transfer(POLLOUT, {whole, count + 1}) == static_cast<long>(size) ? Sent::yes : Sent::no;
}

/** One frame to (POLLOUT) or from (POLLIN) the host; -1 with EAGAIN when that would have to wait. */
long Net::transfer(short events, Span<const iovec> pieces) {
  const int fd = options_.frames.get();
  const int count = static_cast<int>(pieces.count);
  const auto ask = [&](int flags) {
    return sys::retry([&] {
      return events == POLLOUT ? pwritev2(fd, pieces.data, count, -1, flags)
                               : preadv2(fd, pieces.data, count, -1, flags);
    });
  };
  if (atOnce_) {
    const long moved = ask(RWF_NOWAIT);
    if (moved >= 0 || errno != EOPNOTSUPP) return moved;
    atOnce_ = false;
  }
  if (isReady(fd, events)) return ask(0);
  errno = EAGAIN;
  return -1;
}

Status Net::receive() {
  Gathered buffers(&carrier().queue(kReceive));
  const bool straight = carrier().hasFeature(kMergeable) && !receiving_.limited();
  for (uint32_t turn = 0; turn < Carrier::kTurn; ++turn) {
    if (frameBytes_ == 0 && large_ && straight) {
      const Received received = TRY(receiveStraight(&buffers));
      if (received == Received::nothing) return listen(true);
      if (received == Received::frame) continue;
    }
    buffers.putBack();
    if (frameBytes_ == 0 && !fetch()) return listen(true);
    // A frame that has to wait for its time or for buffers is kept, and nobody asks for another.
    admitted_ = admitted_ || receiving_.admit(frameBytes_);
    if (!admitted_ || !TRY(deliver())) return listen(false);
  }
  carrier().ringAgain(kReceive);
  return Done{};
}

Status Net::listen(bool wanted) {
  const uint32_t events = wanted && !ended_ ? uint32_t{EPOLLIN} : 0;
  return interest_.set(&carrier(), options_.frames.get(), events, kFramesToken);
}

/** The next frame of the host into the guest's buffers, when those that are there hold any frame there can be. */
Result<Net::Received> Net::receiveStraight(Gathered* buffers) {
  if (!TRY(buffers->reach(frame_.size()))) return Received::noRoom;
  const long count = ended_ ? 0 : transfer(POLLIN, buffers->pieces());
  if (!isFrame(count)) return count > 0 ? Received::frame : Received::nothing;
  const auto size = static_cast<uint32_t>(count);
  const uint16_t used = buffers->countFor(size);
  if (!buffers->write(offsetof(NetHeader, buffers), &used, sizeof used)) {
    return failure("virtio-net", EPROTO, "a first buffer too small for the header");
  }
  buffers->give(size);
  carrier().tell(kReceive);
  ++counts_.received;
  return Received::frame;
}

/** Of what came of asking the host: a frame, however long; or nothing for now, or for ever. */
bool Net::isFrame(long count) {
  ended_ = ended_ || (count <= 0 && !(count < 0 && errno == EAGAIN));
  large_ = count >= static_cast<long>(kLargeBytes);
  return count >= static_cast<long>(sizeof(NetHeader) + kEthernetBytes);
}

/** The next frame of the host into `frame_`; false when there is none. */
bool Net::fetch() {
  const iovec whole = {frame_.data(), frame_.size()};
  while (!ended_) {
    const long count = transfer(POLLIN, {&whole, 1});
    if (count < 0 && errno == EAGAIN) return false;
    if (!isFrame(count)) continue;
    frameBytes_ = static_cast<size_t>(count);
    admitted_ = false;
    return true;
  }
  return false;
}

/** False when the frame has to wait for buffers. */
Result<bool> Net::deliver() {
  Queue& queue = carrier().queue(kReceive);
  filled_.clear();
  const uint32_t held = TRY(fill());
  if (held < frameBytes_) {
    // More buffers than all of them do not come, nor a larger one for a driver that takes one each.
    const bool never = !filled_.empty() && (filled_.size() == queue.size() || !carrier().hasFeature(kMergeable));
    const auto seen = static_cast<uint16_t>(filled_.size());
    queue.putBack(seen);
    if (!never) return !queue.rest(seen);
    ++counts_.notReceived;
    frameBytes_ = 0;
    return true;
  }
  const auto buffers = static_cast<uint16_t>(filled_.size());
  if (!first_.write(offsetof(NetHeader, buffers), &buffers, sizeof buffers)) {
    return failure("virtio-net", EPROTO, "a first buffer too small for the header");
  }
  for (const Filled& each : filled_) queue.push(each.head, each.sizeBytes);
  carrier().tell(kReceive);
  ++counts_.received;
  frameBytes_ = 0;
  return true;
}

/** Copies the frame into one buffer, or as many as it takes; answers how much of it they hold. */
Result<uint32_t> Net::fill() {
  Queue& queue = carrier().queue(kReceive);
  uint32_t done = 0;
  do {
    Chain& chain = filled_.empty() ? first_ : more_;
    if (!TRY(queue.pop(&chain))) break;
    const uint32_t here = std::min(chain.writableBytes(), static_cast<uint32_t>(frameBytes_) - done);
    chain.write(0, frame_.data() + done, here);
    filled_.push_back({chain.head(), here});
    done += here;
  } while (done < frameBytes_ && carrier().hasFeature(kMergeable) && filled_.size() < queue.size());
  return done;
}

}  // namespace bulkhead::vm
