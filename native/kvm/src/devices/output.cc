#include "devices/output.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

/** Opening the master's side of a terminal would make another terminal. */
bool canBeReopened(int fd, mode_t mode) {
  int number = 0;
  return S_ISFIFO(mode) || (isatty(fd) == 1 && ioctl(fd, TIOCGPTN, &number) != 0);
}

/** An open file of its own of the same pipe or terminal. None without /proc, or for a pipe of another user's. */
Fd reopen(int fd) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return Fd(open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

}  // namespace

Output::Output(Fd to) : to_(std::move(to)) {
  struct stat status;
  if (fstat(to_.get(), &status) != 0) return;
  isSocket_ = S_ISSOCK(status.st_mode);
  if (isSocket_ || S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) return;
  // O_NONBLOCK belongs to everybody who shares the open file.
  Fd own = canBeReopened(to_.get(), status.st_mode) ? reopen(to_.get()) : Fd();
  if (own.valid()) {
    to_ = std::move(own);
    return;
  }
  // That nothing here waits is more than how the others find it.
  fcntl(to_.get(), F_SETFL, fcntl(to_.get(), F_GETFL) | O_NONBLOCK);
}

void Output::write(const uint8_t* data, size_t size) {
  droppedBytes_ += size - offer(data, size);
}

size_t Output::offer(const uint8_t* data, size_t size) {
  size_t taken = 0;
  while (taken < size) {
    // A pipe takes this much whole or not at all, so that two who write to it leave each other's lines as they are.
    const size_t part = std::min<size_t>(size - taken, PIPE_BUF);
    const long written = sys::retry([&] { return writeOnce(data + taken, part); });
    if (written > 0) {
      taken += static_cast<size_t>(written);
      continue;
    }
    if (written < 0 && errno == EAGAIN) break;
    droppedBytes_ += size - taken;
    return size;
  }
  return taken;
}

long Output::writeOnce(const uint8_t* data, size_t size) const {
  return isSocket_ ? send(to_.get(), data, size, MSG_DONTWAIT | MSG_NOSIGNAL) : ::write(to_.get(), data, size);
}

}  // namespace bulkhead::vm
