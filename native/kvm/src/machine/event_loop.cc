#include "machine/event_loop.h"

#include <sys/epoll.h>

#include <cerrno>

#include "sys/retry.h"

namespace bulkhead::vm {

Result<EventLoop> EventLoop::create() {
  return EventLoop(TRY(sys::opened("epoll_create1", [] { return epoll_create1(EPOLL_CLOEXEC); })));
}

Status EventLoop::watch(int fd, uint32_t events, Readiness* whom) const {
  struct epoll_event event = {};
  event.events = events;
  event.data.ptr = whom;
  return sys::check("epoll_ctl", [&] { return epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event); });
}

void EventLoop::forget(int fd) const {
  epoll_ctl(fd_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

Status EventLoop::run(int ended) const {
  TRY(watch(ended, EPOLLIN, nullptr));
  for (;;) {
    struct epoll_event events[16];
    const long count = sys::retry([&] { return epoll_wait(fd_.get(), events, 16, -1); });
    if (count < 0) return failure("epoll_wait", errno);
    for (long index = 0; index < count; ++index) {
      auto* whom = static_cast<Readiness*>(events[index].data.ptr);
      if (whom == nullptr) return Done{};
      whom->onReady(events[index].events);
    }
  }
}

}  // namespace bulkhead::vm
