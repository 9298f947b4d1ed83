// What a device wants to hear of one descriptor of the host.
#pragma once

#include <sys/epoll.h>

#include "virtio/device.h"

namespace bulkhead::vm {

/**
 * A descriptor is watched only for what would be done about it at once: what is ready and left alone would be told
 * again and again.
 */
class Interest {
 public:
  /** Events as of epoll(7); 0 is none. @returns EPERM for a file that cannot be waited for */
  Status set(Carrier* carrier, int fd, uint32_t events, uint64_t token) {
    if (events == events_) return Done{};
    events_ = 0;
    if (events == 0) {
      carrier->forget(fd);
      return Done{};
    }
    TRY(carrier->watch(fd, events, token));
    events_ = events;
    return Done{};
  }
  uint32_t events() const { return events_; }

 private:
  uint32_t events_ = 0;
};

}  // namespace bulkhead::vm
