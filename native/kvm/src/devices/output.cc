#include "devices/output.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace bulkhead::vm {

void Output::write(const uint8_t* data, size_t size) {
  droppedBytes_ += size - offer(data, size);
}

size_t Output::offer(const uint8_t* data, size_t size) {
  size_t taken = 0;
  while (taken < size) {
    // O_NONBLOCK would belong to everybody who shares the open file, so it is asked instead: a pipe, terminal or socket
    // that is ready takes at least this much without waiting.
    struct pollfd ready = {to_.get(), POLLOUT, 0};
    if (poll(&ready, 1, 0) != 1) break;
    const size_t part = std::min<size_t>(size - taken, PIPE_BUF);
    const ssize_t written = (ready.revents & POLLOUT) == 0 ? -1 : ::write(to_.get(), data + taken, part);
    if (written > 0) {
      taken += static_cast<size_t>(written);
      continue;
    }
    if ((ready.revents & POLLOUT) != 0 && (errno == EAGAIN || errno == EINTR)) break;
    droppedBytes_ += size - taken;
    return size;
  }
  return taken;
}

}  // namespace bulkhead::vm
