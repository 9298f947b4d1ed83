#include "events/event_loop.h"

#include <sys/epoll.h>

#include <cerrno>

#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

constexpr uint64_t kEnded = ~uint64_t{0};

}  // namespace

Result<EventLoop> EventLoop::create() {
  return EventLoop(TRY(sys::opened("epoll_create1", [] { return epoll_create1(EPOLL_CLOEXEC); })));
}

uint16_t EventLoop::admit(Readiness* whom) {
  admitted_.push_back(whom);
  return static_cast<uint16_t>(admitted_.size() - 1);
}

// A number instead of a pointer: an event that was fetched before its descriptor was forgotten leads nowhere wrong.
Status EventLoop::watch(int fd, uint32_t events, uint16_t whom, uint64_t token) const {
  struct epoll_event event = {};
  event.events = events;
  event.data.u64 = uint64_t{whom} * kTokenEnd + token;
  if (epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return Done{};
  if (errno != EEXIST) return failure("epoll_ctl", errno);
  return sys::check("epoll_ctl", [&] { return epoll_ctl(fd_.get(), EPOLL_CTL_MOD, fd, &event); });
}

void EventLoop::forget(int fd) const {
  epoll_ctl(fd_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

Result<EventLoop::Turn> EventLoop::turn(int timeoutMs) const {
  struct epoll_event events[16];
  const long count = sys::retry([&] { return epoll_wait(fd_.get(), events, 16, timeoutMs); });
  if (count < 0) return failure("epoll_wait", errno);
  for (long index = 0; index < count; ++index) {
    const uint64_t data = events[index].data.u64;
    if (data == kEnded) return Turn::ended;
    admitted_[data / kTokenEnd]->onReady(data % kTokenEnd, events[index].events);
  }
  return count > 0 ? Turn::served : Turn::nothing;
}

Status EventLoop::run(int ended) const {
  struct epoll_event end = {};
  end.events = EPOLLIN;
  end.data.u64 = kEnded;
  TRY(sys::check("epoll_ctl", [&] { return epoll_ctl(fd_.get(), EPOLL_CTL_ADD, ended, &end); }));
  while (TRY(turn(-1)) != Turn::ended) continue;
  return Done{};
}

}  // namespace bulkhead::vm
