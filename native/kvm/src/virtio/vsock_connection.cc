#include "virtio/vsock_connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>

#include "sys/file.h"
#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

bool waits() {
  return errno == EAGAIN;
}

}  // namespace

VsockConnection::Greeting VsockConnection::readGreeting(uint32_t* port) {
  constexpr std::string_view kWord = "CONNECT ";
  // A byte at a time: what follows the line is the guest's.
  while (!greeting_.ends_with('\n')) {
    char byte = 0;
    const long size = sys::retry([&] { return recv(stream_.get(), &byte, 1, MSG_DONTWAIT); });
    if (size < 0 && waits()) return Greeting::incomplete;
    if (size <= 0 || greeting_.size() == kGreetingBytes) return Greeting::wrong;
    greeting_.push_back(byte);
  }
  const std::string_view line(greeting_.data(), greeting_.size() - 1);
  uint64_t number = 0;
  if (!line.starts_with(kWord) || !sys::parseUnsigned(line.substr(kWord.size()), 0xffffffff, &number)) {
    return Greeting::wrong;
  }
  *port = static_cast<uint32_t>(number);
  return Greeting::complete;
}

bool VsockConnection::answerGreeting() const {
  char text[kGreetingBytes];
  const int size = snprintf(text, sizeof text, "OK %u\n", ports.host);
  return send(stream_.get(), text, static_cast<size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL) == size;
}

void VsockConnection::credit(const VsockHeader& header) {
  guestBufferBytes_ = header.bufferBytes;
  guestForwarded_ = header.forwardedBytes;
}

uint32_t VsockConnection::room() const {
  // A guest that passed on more than it was sent lies, and gets nothing.
  const uint32_t inFlight = sent_ - guestForwarded_;
  return inFlight >= guestBufferBytes_ ? 0 : guestBufferBytes_ - inFlight;
}

bool VsockConnection::take(Span<const iovec> pieces, uint32_t sizeBytes) {
  if (sizeBytes > kBufferBytes - (received_ - forwarded_)) return false;
  received_ += sizeBytes;
  for (const iovec& piece : pieces) {
    const auto* bytes = static_cast<const uint8_t*>(piece.iov_base);
    buffer_.insert(buffer_.end(), bytes, bytes + piece.iov_len);
  }
  return flush();
}

bool VsockConnection::flush() {
  size_t done = 0;
  bool gone = false;
  while (done < buffer_.size() && !gone) {
    const long size = sys::retry(
        [&] { return send(stream_.get(), buffer_.data() + done, buffer_.size() - done, MSG_DONTWAIT | MSG_NOSIGNAL); });
    if (size < 0 && waits()) break;
    gone = size < 0;
    if (!gone) done += static_cast<size_t>(size);
  }
  forwarded_ += static_cast<uint32_t>(done);
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<long>(done));
  if (buffer_.empty() && guestSendingEnded) shutdown(stream_.get(), SHUT_WR);
  return !gone;
}

long VsockConnection::read(iovec* pieces, uint32_t count) {
  struct msghdr message = {};
  message.msg_iov = pieces;
  message.msg_iovlen = count;
  const long size = sys::retry([&] { return recvmsg(stream_.get(), &message, MSG_DONTWAIT); });
  if (size < 0) return waits() ? -1 : -2;
  sent_ += static_cast<uint32_t>(size);
  return size;
}

void VsockConnection::endSending() {
  guestSendingEnded = true;
  if (buffer_.empty()) shutdown(stream_.get(), SHUT_WR);
}

bool VsockConnection::hungUp() const {
  struct pollfd ready = {stream_.get(), 0, 0};
  return poll(&ready, 1, 0) == 1 && (ready.revents & (POLLHUP | POLLERR)) != 0;
}

void VsockConnection::describe(VsockHeader* header) {
  header->bufferBytes = kBufferBytes;
  header->forwardedBytes = told_ = forwarded_;
}

}  // namespace bulkhead::vm
