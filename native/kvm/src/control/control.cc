#include "control/control.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "control/view.h"
#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

std::string refusal(const char* why) {
  return std::string("{\"error\":\"") + why + "\"}";
}

}  // namespace

Result<std::unique_ptr<Control>> Control::attach(Fd socket, Machine* machine, std::string calls) {
  int type = 0;
  socklen_t size = sizeof type;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0) return failure("control", errno);
  if (type != SOCK_SEQPACKET) return failure("control", EINVAL, "its socket keeps messages apart (SOCK_SEQPACKET)");
  TRY(sys::check("fcntl", [&] { return fcntl(socket.get(), F_SETFL, O_NONBLOCK); }));
  const int fd = socket.get();
  std::unique_ptr<Control> control(new Control(std::move(socket), machine, std::move(calls)));
  const uint16_t admitted = machine->loop().admit(control.get());
  TRY(machine->loop().watch(fd, EPOLLIN, admitted, 0));
  return control;
}

void Control::onReady(uint64_t, uint32_t) {
  char request[kRequestBytes + 1];
  const long size = sys::retry([&] { return read(socket_.get(), request, sizeof request); });
  if (size < 0 && errno == EAGAIN) return;
  if (size <= 0) {
    machine_->loop().forget(socket_.get());
    return;
  }
  const std::string said = size > static_cast<long>(kRequestBytes) ? refusal("a request of more than 32 bytes")
                                                                   : answer({request, static_cast<size_t>(size)});
  // Who does not read its answers loses them; nobody here waits for that.
  (void)!sys::retry([&] { return write(socket_.get(), said.data(), said.size()); });
}

std::string Control::answer(std::string_view request) {
  if (request == "state") return state();
  if (request == "view") return viewOf(machine_, calls_);
  if (machine_->ending().outcome() != Outcome::running) return refusal("the machine has ended");
  if (request == "pause") return pause(true);
  if (request == "resume") return pause(false);
  if (request == "stop") {
    machine_->stop();
    return state();
  }
  return refusal("unknown request; there are state, view, pause, resume and stop");
}

std::string Control::state() const {
  const Outcome outcome = machine_->ending().outcome();
  const char* name = outcome == Outcome::running && paused_ ? "paused" : nameOf(outcome);
  return std::string("{\"state\":\"") + name + "\"}";
}

std::string Control::pause(bool paused) {
  if (paused != paused_) {
    if (paused) {
      machine_->pause();
    } else {
      machine_->resume();
    }
  }
  paused_ = paused;
  return state();
}

}  // namespace bulkhead::vm
