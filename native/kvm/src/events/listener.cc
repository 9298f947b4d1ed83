#include "events/listener.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "sys/syscalls.h"

namespace bulkhead::vm {

Listener::Listener(Fd socket) : socket_(std::move(socket)) {
  if (!socket_.valid()) return;
  auto copy = sys::duplicate(socket_.get(), 3);
  if (copy.ok()) kept_ = copy.take();
}

Fd Listener::accept() {
  // It may have been another one's event, and a socket that was passed may be one that waits.
  struct pollfd ready = {socket_.get(), POLLIN, 0};
  if (poll(&ready, 1, 0) != 1) return Fd();
  Fd stream = take();
  if (stream.valid() || (errno != EMFILE && errno != ENFILE)) return stream;
  kept_.reset();
  kept_ = take();
  // He hears it now, and not when another takes his place.
  if (kept_.valid()) shutdown(kept_.get(), SHUT_RDWR);
  return Fd();
}

Fd Listener::take() const {
  return Fd(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

}  // namespace bulkhead::vm
