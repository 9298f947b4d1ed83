#include "virtio/entropy.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>

#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

/** Of one request: a driver may ask for gigabytes, and asks again when it needs more. */
constexpr uint32_t kMaxBytes = 64 * 1024;
/** getrandom(2) gives so many bytes without being interrupted. */
constexpr uint32_t kAtOnce = 256;

}  // namespace

Status Entropy::onDoorbell(uint32_t index) {
  return carrier().drain(index, [&](const Chain& chain) -> Result<bool> {
    const uint32_t wanted = std::min(chain.writableBytes(), kMaxBytes);
    uint8_t bytes[kAtOnce];
    for (uint32_t done = 0; done < wanted; done += kAtOnce) {
      const uint32_t size = std::min(wanted - done, kAtOnce);
      if (getrandom(bytes, size, 0) != static_cast<ssize_t>(size)) return failure("getrandom", errno);
      chain.write(done, bytes, size);
    }
    carrier().queue(index).push(chain.head(), wanted);
    return true;
  });
}

}  // namespace bulkhead::vm
