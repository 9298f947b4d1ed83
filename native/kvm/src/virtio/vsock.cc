#include "virtio/vsock.h"

#include <sys/un.h>

#include <algorithm>
#include <cerrno>

namespace bulkhead::vm {
namespace {

constexpr uint32_t kReceive = 0;
constexpr uint32_t kSend = 1;
constexpr uint32_t kEvent = 2;
constexpr uint64_t kListenerToken = 0;
/** "_" and a port. */
constexpr size_t kSuffixBytes = 11;

}  // namespace

Result<std::unique_ptr<Vsock>> Vsock::create(VsockOptions options) {
  if (options.cid <= kVsockHost || options.cid >= 0xffffffff) return failure("vsock", EINVAL, "address of a guest");
  if (options.path.size() + kSuffixBytes >= sizeof(sockaddr_un::sun_path)) {
    return failure("vsock", ENAMETOOLONG, options.path);
  }
  return std::unique_ptr<Vsock>(new Vsock(std::move(options)));
}

Status Vsock::activate() {
  return listen();
}

Status Vsock::listen() {
  if (!listener_.valid()) return Done{};
  return listening_.set(&carrier(), listener_.fd(), EPOLLIN, kListenerToken);
}

void Vsock::reset() {
  while (!connections_.empty()) remove(connections_.begin()->first);
  replies_.clear();
  declined_ = hearsOfReset_ = false;
  // Forgetting cannot fail.
  (void)listening_.set(&carrier(), listener_.fd(), 0, kListenerToken).ok();
}

/** Virtio 1.2, 5.10.6.7: the driver ends its streams, asks for its address again and gives the buffer back. */
Status Vsock::load(StateReader*) {
  if (!carrier().active()) return Done{};
  Queue& queue = carrier().queue(kEvent);
  if (!TRY(queue.pop(&given_))) return Done{};
  const uint32_t transportReset = 0;
  given_.write(0, &transportReset, sizeof transportReset);
  queue.push(given_.head(), sizeof transportReset);
  eventsWaiting_ = queue.waitingCount();
  hearsOfReset_ = true;
  // The doorbell rings for the next buffer.
  queue.rest(eventsWaiting_);
  return listening_.set(&carrier(), listener_.fd(), 0, kListenerToken);
}

Status Vsock::onDoorbell(uint32_t queue) {
  if (queue == kEvent && hearsOfReset_ && carrier().queue(kEvent).waitingCount() != eventsWaiting_) {
    hearsOfReset_ = false;
    TRY(listen());
  }
  return serve();
}

Status Vsock::onHost(uint64_t token, uint32_t events) {
  if (token == kListenerToken) {
    acceptFromHost();
  } else if (connections_.contains(token)) {
    hear(token, events);
  }
  return serve();
}

Status Vsock::serve() {
  declined_ = false;
  TRY(carrier().drain(kSend, [&](const Chain& chain) { return takePacket(chain); }));
  TRY(give());
  if (declined_ && replies_.size() < kMaxReplies) carrier().ringAgain(kSend);
  return Done{};
}

Result<bool> Vsock::takePacket(const Chain& chain) {
  if (replies_.size() >= kMaxReplies) {
    declined_ = true;
    return false;
  }
  VsockHeader header;
  if (!chain.read(0, &header)) return failure("virtio-vsock", EPROTO, "a packet without a header");
  if (header.sizeBytes > chain.readableBytes() - sizeof header) {
    return failure("virtio-vsock", EPROTO, "a packet shorter than it says");
  }
  carrier().queue(kSend).push(chain.head(), 0);
  // Nobody else can be where it says it is.
  if (header.sourceCid != options_.cid) return true;
  const VsockPorts ports = {header.sourcePort, header.destinationPort};
  const uint64_t id = find(ports);
  const bool forUs = header.destinationCid == kVsockHost && header.type == kVsockStream;
  if (forUs && id != 0) {
    takeFor(id, header, chain);
  } else if (forUs && header.operation == VsockOperation::request) {
    connectToHost(header);
  } else if (header.operation != VsockOperation::reset) {
    reply(VsockOperation::reset, ports);
  }
  return true;
}

void Vsock::takeFor(uint64_t id, const VsockHeader& header, const Chain& chain) {
  VsockConnection& connection = *connections_.at(id);
  connection.credit(header);
  switch (header.operation) {
    case VsockOperation::response:
      if (connection.stage != VsockConnection::Stage::requested || !connection.answerGreeting()) return refuse(id);
      connection.stage = VsockConnection::Stage::open;
      return listenTo(id);
    case VsockOperation::reset:
      return remove(id);
    case VsockOperation::shutdown:
      return takeShutdown(id, header);
    case VsockOperation::data:
      return takeData(id, header, chain);
    case VsockOperation::creditUpdate:
      return;
    case VsockOperation::creditRequest:
      return reply(VsockOperation::creditUpdate, connection.ports);
    default:
      return refuse(id);
  }
}

void Vsock::takeData(uint64_t id, const VsockHeader& header, const Chain& chain) {
  VsockConnection& connection = *connections_.at(id);
  iovec pieces[Chain::kMaxSegments];
  const uint32_t count = slice(chain.readable(), sizeof header, header.sizeBytes, pieces);
  if (connection.stage != VsockConnection::Stage::open || connection.guestSendingEnded ||
      !connection.take({pieces, count}, header.sizeBytes)) {
    return refuse(id);
  }
  if (connection.owesCredit()) reply(VsockOperation::creditUpdate, connection.ports);
  listenTo(id);
}

void Vsock::takeShutdown(uint64_t id, const VsockHeader& header) {
  VsockConnection& connection = *connections_.at(id);
  if ((header.flags & kVsockNoReceive) != 0) connection.readingEnded = true;
  if ((header.flags & kVsockNoSend) != 0) connection.endSending();
  connection.closing = connection.readingEnded && connection.guestSendingEnded;
  if (connection.closing && !connection.waiting()) return refuse(id);
  listenTo(id);
}

Status Vsock::give() {
  for (uint32_t turn = 0; turn < Carrier::kTurn; ++turn) {
    const uint64_t id = replies_.empty() ? nextToRead() : 0;
    if (replies_.empty() && id == 0) return Done{};
    const bool given = id == 0 ? TRY(giveReply()) : TRY(giveData(id));
    if (!given) return Done{};
  }
  carrier().ringAgain(kReceive);
  return Done{};
}

Result<bool> Vsock::take(Chain* chain) {
  Queue& queue = carrier().queue(kReceive);
  while (!TRY(queue.pop(chain))) {
    if (queue.rest()) return false;
  }
  if (chain->writableBytes() <= sizeof(VsockHeader)) return failure("virtio-vsock", EPROTO, "a buffer for no packet");
  return true;
}

Result<bool> Vsock::giveReply() {
  if (!TRY(take(&given_))) return false;
  VsockHeader header = replies_.front();
  replies_.pop_front();
  const uint64_t id = find({header.destinationPort, header.sourcePort});
  if (id != 0) connections_.at(id)->describe(&header);
  given_.write(0, &header, sizeof header);
  carrier().queue(kReceive).push(given_.head(), sizeof header);
  return true;
}

Result<bool> Vsock::giveData(uint64_t id) {
  if (!TRY(take(&given_))) return false;
  turn_ = id;
  VsockConnection& connection = *connections_.at(id);
  const uint32_t space = given_.writableBytes() - uint32_t{sizeof(VsockHeader)};
  iovec pieces[Chain::kMaxSegments];
  const uint32_t count =
      slice(given_.writable(), sizeof(VsockHeader), std::min({space, connection.room(), kPacketBytes}), pieces);
  const long size = connection.read(pieces, count);
  if (size > 0) {
    VsockHeader header;
    header.sourceCid = kVsockHost;
    header.destinationCid = options_.cid;
    header.sourcePort = connection.ports.host;
    header.destinationPort = connection.ports.guest;
    header.sizeBytes = static_cast<uint32_t>(size);
    header.operation = VsockOperation::data;
    connection.describe(&header);
    given_.write(0, &header, sizeof header);
    carrier().queue(kReceive).push(given_.head(), static_cast<uint32_t>(sizeof header + static_cast<size_t>(size)));
    return true;
  }
  carrier().queue(kReceive).putBack();
  connection.readable = false;
  if (size == -2) {
    refuse(id);
  } else if (size == 0 && connection.hungUp()) {
    reply(VsockOperation::shutdown, connection.ports, kVsockNoReceive | kVsockNoSend);
    remove(id);
  } else {
    if (size == 0) {
      connection.readingEnded = true;
      reply(VsockOperation::shutdown, connection.ports, kVsockNoSend);
    }
    listenTo(id);
  }
  return true;
}

/** The next stream, in turn, that has something the guest takes; 0 is none. */
uint64_t Vsock::nextToRead() const {
  auto each = connections_.upper_bound(turn_);
  for (size_t looked = 0; looked < connections_.size(); ++looked, ++each) {
    if (each == connections_.end()) each = connections_.begin();
    const VsockConnection& connection = *each->second;
    const bool open = connection.stage == VsockConnection::Stage::open && !connection.readingEnded;
    if (open && connection.readable && connection.room() > 0) return each->first;
  }
  return 0;
}

void Vsock::reply(VsockOperation operation, VsockPorts ports, uint32_t flags) {
  VsockHeader header;
  header.sourceCid = kVsockHost;
  header.destinationCid = options_.cid;
  header.sourcePort = ports.host;
  header.destinationPort = ports.guest;
  header.operation = operation;
  header.flags = flags;
  replies_.push_back(header);
}

uint64_t Vsock::find(VsockPorts ports) const {
  const auto found = ids_.find(ports);
  return found == ids_.end() ? 0 : found->second;
}

}  // namespace bulkhead::vm
