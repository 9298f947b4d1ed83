#include "snapshot/frame_sender.h"

#include <poll.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "sys/retry.h"

namespace bulkhead::vm {

Status FrameSender::send(FrameKind kind, uint64_t offset, std::string_view bytes) const {
  const FrameHead head = {kind, static_cast<uint32_t>(bytes.size()), offset};
  const std::string_view whole[] = {{reinterpret_cast<const char*>(&head), sizeof head}, bytes};
  const size_t size = sizeof head + bytes.size();
  for (size_t done = 0; done < size;) {
    iovec left[2];
    int count = 0;
    size_t before = done;
    for (const std::string_view part : whole) {
      const size_t skipped = std::min(before, part.size());
      before -= skipped;
      if (skipped < part.size()) left[count++] = {const_cast<char*>(part.data()) + skipped, part.size() - skipped};
    }
    const long written = sys::retry([&] { return writev(pipe_.get(), left, count); });
    if (written >= 0) {
      done += static_cast<size_t>(written);
      continue;
    }
    if (errno != EAGAIN) return failure("snapshot", errno, "whoever asked for it takes no more of it");
    struct pollfd room = {pipe_.get(), POLLOUT, 0};
    if (sys::retry([&] { return poll(&room, 1, patienceMs_); }) == 0) {
      return failure("snapshot", ETIMEDOUT, "whoever asked for it does not read it");
    }
  }
  return Done{};
}

}  // namespace bulkhead::vm
