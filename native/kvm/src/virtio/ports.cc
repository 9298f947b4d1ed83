#include "virtio/ports.h"

#include <poll.h>

#include <algorithm>

#include "events/clock.h"

namespace bulkhead::vm {
namespace {

// Virtio 1.2, 5.3.6.2: what the device and its driver tell each other of ports.
constexpr uint16_t kDeviceReady = 0;
constexpr uint16_t kDeviceAdd = 1;
constexpr uint16_t kPortReady = 3;
constexpr uint16_t kPortOpen = 6;
constexpr uint16_t kPortName = 7;

}  // namespace

Ports::Ports(std::vector<NamedOutput> outputs) {
  config_.ports = static_cast<uint32_t>(outputs.size());
  for (NamedOutput& named : outputs) ports_.push_back({std::move(named), {}, 0, false});
}

void Ports::reset() {
  replies_.clear();
  for (size_t port = 0; port < ports_.size(); ++port) {
    ports_[port].takenBytes = 0;
    listen(port, false);
  }
}

Status Ports::onDoorbell(uint32_t queue) {
  if (queue == kControlSend || queue == kControlReceive) return takeWords();
  for (size_t port = 0; port < ports_.size(); ++port) {
    if (queue == sendQueue(port)) return transmit(port);
  }
  return Done{};
}

Status Ports::onHost(uint64_t token, uint32_t) {
  return token < ports_.size() ? transmit(token) : Status(Done{});
}

void Ports::conclude(uint64_t untilNs) {
  for (size_t port = 0; port < ports_.size(); ++port) {
    // Nobody is left to make requests, but those there are may be as large as a guest likes to say.
    while (transmit(port).ok() && ports_[port].waits) {
      const uint64_t now = monotonicNs();
      const uint64_t leftMs = now < untilNs ? (untilNs - now) / 1'000'000 : 0;
      struct pollfd ready = {ports_[port].named.output.fd(), POLLOUT, 0};
      if (leftMs == 0 || poll(&ready, 1, static_cast<int>(std::min<uint64_t>(leftMs, kPatienceMs))) != 1) break;
    }
  }
}

void Ports::save(StateWriter* to) const {
  for (const Port& port : ports_) to->put(port.takenBytes);
  to->putAll(std::vector<Word>(replies_.begin(), replies_.end()));
}

Status Ports::load(StateReader* from) {
  // However much of a request is said to be taken, it is no more than there is.
  for (Port& port : ports_) port.takenBytes = from->get<uint64_t>();
  for (const Word& word : from->getAll<Word>(kMaxReplies)) {
    if (word.port >= ports_.size()) from->refuse();
    replies_.push_back(word);
  }
  return Done{};
}

void Ports::listen(size_t port, bool wanted) {
  Port& each = ports_[port];
  const uint32_t events = wanted ? uint32_t{EPOLLOUT} : 0;
  // What cannot be waited for is always ready.
  if (!each.interest.set(&carrier(), each.named.output.fd(), events, port).ok()) carrier().ringAgain(sendQueue(port));
}

Status Ports::transmit(size_t port) {
  Port& each = ports_[port];
  bool waits = false;
  TRY(carrier().drain(sendQueue(port), [&](const Chain& chain) -> Result<bool> {
    waits = !transmitOne(&each, chain);
    if (!waits) carrier().queue(sendQueue(port)).push(chain.head(), 0);
    return !waits;
  }));
  each.waits = waits;
  listen(port, waits);
  return Done{};
}

/** False when some of it is left for later. */
bool Ports::transmitOne(Port* port, const Chain& chain) {
  // The guest may have made it shorter meanwhile, which is its own loss.
  const uint64_t from = std::min<uint64_t>(port->takenBytes, chain.readableBytes());
  const uint64_t size = std::min<uint64_t>(chain.readableBytes() - from, kTurnBytes);
  iovec pieces[Chain::kMaxSegments];
  const uint32_t count = slice(chain.readable(), from, size, pieces);
  port->takenBytes = from;
  for (const iovec& piece : Span<const iovec>{pieces, count}) {
    const size_t taken = port->named.output.offer(static_cast<const uint8_t*>(piece.iov_base), piece.iov_len);
    port->takenBytes += taken;
    if (taken < piece.iov_len) return false;
  }
  if (port->takenBytes < chain.readableBytes()) return false;
  port->takenBytes = 0;
  return true;
}

Status Ports::takeWords() {
  TRY(carrier().drain(kControlSend, [&](const Chain& chain) -> Result<bool> {
    TRY(giveWords());
    // One word of the driver's brings two of ours for a port, or one for each.
    if (replies_.size() + std::max<size_t>(ports_.size(), 2) > kMaxReplies) return false;
    Word word;
    if (!chain.read(0, &word)) return failure("virtio-console", EPROTO, "a control message that is too short");
    carrier().queue(kControlSend).push(chain.head(), 0);
    hear(word);
    return true;
  }));
  return giveWords();
}

void Ports::hear(const Word& word) {
  if (word.event == kDeviceReady && word.value == 1) {
    for (uint32_t port = 0; port < ports_.size(); ++port) replies_.push_back({port, kDeviceAdd, 1});
  } else if (word.event == kPortReady && word.value == 1 && word.port < ports_.size()) {
    replies_.push_back({word.port, kPortName, 1});
    replies_.push_back({word.port, kPortOpen, 1});
  }
}

Status Ports::giveWords() {
  Chain chain;
  Queue& queue = carrier().queue(kControlReceive);
  while (!replies_.empty()) {
    if (!TRY(queue.pop(&chain))) {
      if (queue.rest()) return Done{};
      continue;
    }
    const Word word = replies_.front();
    replies_.pop_front();
    std::string bytes(reinterpret_cast<const char*>(&word), sizeof word);
    if (word.event == kPortName) bytes += ports_[word.port].named.name;
    const auto size = static_cast<uint32_t>(bytes.size());
    if (!chain.write(0, bytes.data(), size)) return failure("virtio-console", EPROTO, "a buffer for no message");
    queue.push(chain.head(), size);
  }
  return Done{};
}

}  // namespace bulkhead::vm
