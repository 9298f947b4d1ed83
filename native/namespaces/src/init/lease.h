// The page that an agent renews; an instance with a lease ends when nobody has for `leaseMs`.
#pragma once

#include <cstdint>

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::init {

/** "SAELKLUB" in memory: the first eight bytes of a lease page, little-endian. */
inline constexpr uint64_t kLeaseMagic = 0x4255'4c4b'4c45'4153;

class Lease {
 public:
  /** Opens the page; ENOMSG when it is no lease page. */
  Status open(const char* path, uint64_t leaseMs);
  bool active() const { return timer_.valid(); }
  /** Readable when the deadline known so far has passed. */
  int timer() const { return timer_.get(); }
  /** Reads the page again: true when it has really run out, else the timer is set to the new deadline. */
  bool expired();

 private:
  Result<uint64_t> deadlineNs() const;
  Status arm(uint64_t deadlineNs);

  Fd page_;
  Fd timer_;
  uint64_t leaseNs_ = 0;
};

}  // namespace bulkhead::init
