#include "virtio/console.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

constexpr uint32_t kReceive = 0;
constexpr uint32_t kTransmit = 1;
/** Of one read: input comes in keystrokes and lines. */
constexpr size_t kReadBytes = 4096;
/** Of one request: Linux sends 32 KiB at most, and more would keep others waiting. */
constexpr size_t kWriteBytes = 64 * 1024;

/** It may have been another descriptor's event, and a read that waits would stop every device. */
bool hasInput(int fd) {
  struct pollfd ready = {fd, POLLIN, 0};
  return poll(&ready, 1, 0) == 1;
}

}  // namespace

Status Console::activate() {
  ended_ = !input_.valid();
  return Done{};
}

void Console::reset() {
  listen(false);
}

Status Console::onDoorbell(uint32_t queue) {
  if (queue == kTransmit) return transmit();
  listen(true);
  return Done{};
}

Status Console::onHost(uint64_t, uint32_t) {
  return receive();
}

void Console::listen(bool wanted) {
  const bool can = wanted && !ended_;
  if (!interest_.set(&carrier(), input_.get(), can ? uint32_t{EPOLLIN} : 0, 0).ok()) ended_ = true;
}

Status Console::receive() {
  if (interest_.events() == 0 || !hasInput(input_.get())) return Done{};
  Chain chain;
  Queue& queue = carrier().queue(kReceive);
  while (!TRY(queue.pop(&chain))) {
    if (!queue.rest()) continue;
    listen(false);
    return Done{};
  }
  uint8_t bytes[kReadBytes];
  const size_t room = std::min<size_t>(chain.writableBytes(), sizeof bytes);
  // A driver that offers nothing to write to is given its buffer back.
  const long count = room == 0 ? 0 : sys::retry([&] { return read(input_.get(), bytes, room); });
  if (count > 0) {
    chain.write(0, bytes, static_cast<uint32_t>(count));
  } else if (room > 0) {
    queue.putBack();
    ended_ = true;
    listen(false);
    return Done{};
  }
  queue.push(chain.head(), static_cast<uint32_t>(count));
  return Done{};
}

Status Console::transmit() {
  return carrier().drain(kTransmit, [&](const Chain& chain) -> Result<bool> {
    size_t room = kWriteBytes;
    for (const iovec& buffer : chain.readable()) {
      const size_t size = std::min(buffer.iov_len, room);
      output_.write(static_cast<const uint8_t*>(buffer.iov_base), size);
      output_.drop(buffer.iov_len - size);
      room -= size;
    }
    carrier().queue(kTransmit).push(chain.head(), 0);
    return true;
  });
}

}  // namespace bulkhead::vm
