#include "devices/output.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

namespace bulkhead::vm {

void Output::write(const uint8_t* data, size_t size) {
  while (size > 0) {
    // O_NONBLOCK would belong to everybody who shares the open file, so it is asked instead: a pipe, terminal or socket
    // that is ready takes at least this much without waiting.
    struct pollfd ready = {to_.get(), POLLOUT, 0};
    if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) break;
    const ssize_t written = ::write(to_.get(), data, size < PIPE_BUF ? size : PIPE_BUF);
    if (written <= 0) break;
    data += written;
    size -= static_cast<size_t>(written);
  }
  droppedBytes_ += size;
}

}  // namespace bulkhead::vm
