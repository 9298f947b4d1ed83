#include "snapshot/frame_receiver.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "snapshot/state_file.h"
#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

Error refusal(int err, std::string_view why) {
  return failure("snapshot", err, why);
}

}  // namespace

Status FrameReceiver::receive() {
  for (;;) {
    // Memory never goes back, so there is an end to it.
    const FrameHead head = TRY(nextHead());
    switch (head.kind) {
      case FrameKind::memory:
        TRY(receiveMemory(head));
        break;
      case FrameKind::state:
        return receiveState(head);
      default:
        return refusal(EBADMSG, "the monitor sends what is no part of one");
    }
  }
}

Status FrameReceiver::receiveMemory(const FrameHead& head) {
  if (head.sizeBytes == 0 || head.sizeBytes > kMaxFrameBytes || head.sizeBytes % kFramePage != 0 ||
      head.offset % kFramePage != 0) {
    return refusal(EBADMSG, "the monitor sends memory that is no pages");
  }
  if (head.offset < reached_) return refusal(EBADMSG, "the monitor sends memory twice, or out of order");
  if (head.offset > endBytes_ || head.sizeBytes > endBytes_ - head.offset) {
    return refusal(EBADMSG, "the monitor sends more memory than its machine has");
  }
  TRY(move(files_.memory, head.offset, head.sizeBytes));
  reached_ = head.offset + head.sizeBytes;
  return Done{};
}

Status FrameReceiver::receiveState(const FrameHead& head) {
  if (reached_ != endBytes_) return refusal(EBADMSG, "the monitor sends less memory than its machine has");
  if (head.offset != 0 || head.sizeBytes == 0 || head.sizeBytes > kMaxStateBytes) {
    return refusal(EBADMSG, "the monitor sends a state that is none");
  }
  return move(files_.state, 0, head.sizeBytes);
}

Result<FrameHead> FrameReceiver::nextHead() {
  FrameHead head = {};
  for (size_t done = 0; done < sizeof head;) {
    TRY(awaitBytes());
    const long count =
        sys::retry([&] { return read(pipe_.get(), reinterpret_cast<char*>(&head) + done, sizeof head - done); });
    if (count < 0) return refusal(errno, "what the monitor sends cannot be read");
    if (count == 0) return refusal(EPIPE, "the monitor ends in the middle of it");
    done += static_cast<size_t>(count);
  }
  return head;
}

Status FrameReceiver::move(const Fd& file, uint64_t offset, uint64_t sizeBytes) {
  auto to = static_cast<off_t>(offset);
  for (uint64_t left = sizeBytes; left > 0;) {
    TRY(awaitBytes());
    const long count =
        sys::retry([&] { return splice(pipe_.get(), nullptr, file.get(), &to, left, SPLICE_F_NONBLOCK); });
    if (count < 0 && errno == EAGAIN) continue;
    if (count < 0) return refusal(errno, "its files cannot be written");
    if (count == 0) return refusal(EPIPE, "the monitor ends in the middle of it");
    left -= static_cast<uint64_t>(count);
  }
  return Done{};
}

Status FrameReceiver::awaitBytes() const {
  struct pollfd bytes = {pipe_.get(), POLLIN, 0};
  const long ready = sys::retry([&] { return poll(&bytes, 1, patienceMs_); });
  if (ready < 0) return refusal(errno, "what the monitor sends cannot be waited for");
  if (ready == 0) return refusal(ETIMEDOUT, "the monitor sends nothing more of it");
  return Done{};
}

}  // namespace bulkhead::vm
