#include "init/lease.h"

#include <fcntl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::init {
namespace {

struct Page {
  uint64_t magic;
  uint64_t renewedAtBoottimeNs;
  uint64_t term;
};

}  // namespace

Status Lease::open(const char* path, uint64_t leaseMs) {
  page_ = TRY(sys::openAt(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  leaseNs_ = leaseMs * 1'000'000;
  const int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
  if (timer < 0) return failure("timerfd_create", errno);
  timer_ = Fd(timer);
  Result<uint64_t> deadline = deadlineNs();
  if (!deadline.ok()) return failure(deadline.error().op, deadline.error().err, path);
  return arm(deadline.value());
}

bool Lease::expired() {
  uint64_t count;
  (void)read(timer_.get(), &count, sizeof count);
  Result<uint64_t> deadline = deadlineNs();
  // A page that cannot be read proves no renewal, and without proof another host may run this instance already.
  if (!deadline.ok()) return true;
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  const uint64_t nowNs = static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  if (nowNs >= deadline.value()) return true;
  return !arm(deadline.value()).ok();
}

Result<uint64_t> Lease::deadlineNs() const {
  // pread, not a mapping: a page that is cut short must be an error here, not a SIGBUS.
  Page page;
  const long count = sys::retry([&] { return pread(page_.get(), &page, sizeof page, 0); });
  if (count < 0) return failure("pread", errno);
  if (count != sizeof page || page.magic != kLeaseMagic) return failure("pread", ENOMSG);
  if (page.renewedAtBoottimeNs > UINT64_MAX - leaseNs_) return failure("pread", ERANGE);
  return page.renewedAtBoottimeNs + leaseNs_;
}

Status Lease::arm(uint64_t deadlineNs) {
  struct itimerspec when = {};
  when.it_value.tv_sec = static_cast<time_t>(deadlineNs / 1'000'000'000);
  when.it_value.tv_nsec = static_cast<long>(deadlineNs % 1'000'000'000);
  // All zero would switch the timer off instead.
  if (deadlineNs == 0) when.it_value.tv_nsec = 1;
  if (timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr) < 0) return failure("timerfd_settime", errno);
  return Done{};
}

}  // namespace bulkhead::init
