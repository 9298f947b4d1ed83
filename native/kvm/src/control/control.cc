#include "control/control.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "control/view.h"
#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

std::string refusal(const char* why) {
  return std::string("{\"error\":\"") + why + "\"}";
}

std::string describe(const SnapshotReport& report) {
  std::string text = "{\"stateBytes\":" + std::to_string(report.stateBytes) +
                     ",\"memoryBytes\":" + std::to_string(report.memoryBytes) +
                     ",\"durationNs\":" + std::to_string(report.durationNs) + ",\"lacking\":[";
  const char* comma = "";
  for (const std::string_view name : report.lacking) {
    text += comma + ('"' + std::string(name) + '"');
    comma = ",";
  }
  return text + "]}";
}

}  // namespace

Result<std::unique_ptr<Control>> Control::attach(Fd socket, Machine* machine, std::string calls) {
  int type = 0;
  socklen_t size = sizeof type;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0) return failure("control", errno);
  if (type != SOCK_SEQPACKET) return failure("control", EINVAL, "its socket keeps messages apart (SOCK_SEQPACKET)");
  int listening = 0;
  size = sizeof listening;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0) return failure("control", errno);
  TRY(sys::check("fcntl", [&] { return fcntl(socket.get(), F_SETFL, O_NONBLOCK); }));
  std::unique_ptr<Control> control(new Control(machine, std::move(calls)));
  control->admitted_ = machine->loop().admit(control.get());
  if (listening == 0) {
    TRY(control->take(std::move(socket)));
  } else {
    control->listener_ = Listener(std::move(socket));
    TRY(machine->loop().watch(control->listener_.fd(), EPOLLIN, control->admitted_, kListener));
  }
  return control;
}

Status Control::take(Fd asker) {
  for (uint64_t place = 0; place < kAskers; ++place) {
    if (askers_[place].valid()) continue;
    TRY(machine_->loop().watch(asker.get(), EPOLLIN, admitted_, place));
    askers_[place] = std::move(asker);
    return Done{};
  }
  return failure("control", EUSERS);
}

void Control::onReady(uint64_t token, uint32_t) {
  if (token == kListener) {
    Fd asker = listener_.accept();
    // One too many is hung up on.
    if (asker.valid()) (void)take(std::move(asker)).ok();
    return;
  }
  Fd& asker = askers_[token];
  if (!asker.valid()) return;
  auto request = Request::receive(asker.get());
  const int err = request.ok() ? 0 : request.error().err;
  if (err == EAGAIN) return;
  if (err != 0 && err != EMSGSIZE) {
    machine_->loop().forget(asker.get());
    asker.reset();
    return;
  }
  const std::string said = err == EMSGSIZE ? refusal("a request of more than 32 bytes, or more than one descriptor")
                                           : answer(&request.value());
  // Who does not read its answers loses them; nobody here waits for that.
  (void)!sys::retry([&] { return write(asker.get(), said.data(), said.size()); });
}

std::string Control::answer(Request* asked) {
  const std::string_view request = asked->text;
  if (request == "state") return state();
  if (request == "view") return viewOf(machine_, calls_);
  if (machine_->ending().outcome() != Outcome::running) return refusal("the machine has ended");
  if (request == "pause") return pause(true);
  if (request == "resume") return pause(false);
  if (request == "save") return save(asked);
  if (request == "stop") {
    machine_->stop();
    return state();
  }
  return refusal("unknown request; there are state, view, pause, resume, save and stop");
}

std::string Control::state() const {
  const Outcome outcome = machine_->ending().outcome();
  const char* name = outcome == Outcome::running && paused_ ? "paused" : nameOf(outcome);
  return std::string("{\"state\":\"") + name + "\"}";
}

/** A machine that runs stands still meanwhile, and goes on. */
std::string Control::save(Request* asked) {
  if (!asked->pipe.valid()) return refusal("a snapshot wants a pipe that it goes to");
  if (!paused_) machine_->pause();
  // It may have ended on the way.
  const bool running = machine_->ending().outcome() == Outcome::running;
  auto taken = running ? machine_->save(FrameSender(std::move(asked->pipe)))
                       : Result<SnapshotReport>(failure("the machine has ended", ESRCH));
  if (!paused_) machine_->resume();
  if (!taken.ok()) {
    const Error& error = taken.error();
    return "{\"error\":\"" + std::string(error.op) + "\",\"errno\":\"" + strerrorname_np(error.err) +
           "\",\"about\":\"" + std::string(error.path.view()) + "\"}";
  }
  return describe(taken.value());
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
