#include "virtio/balloon.h"

#include <algorithm>
#include <cerrno>

namespace bulkhead::vm {
namespace {

constexpr uint32_t kInflate = 0;
constexpr uint32_t kReported = 2;

constexpr uint64_t kDeflateOnOutOfMemory = uint64_t{1} << 2;
constexpr uint64_t kFreePageReporting = uint64_t{1} << 5;

constexpr uint64_t kActualOffset = 4;
/** Page numbers that are looked at together; Linux sends as many in one request. */
constexpr uint32_t kBatch = 256;

}  // namespace

uint64_t Balloon::features() const {
  return kDeflateOnOutOfMemory | kFreePageReporting;
}

void Balloon::writeConfig(uint64_t offset, const uint8_t* data, uint32_t size) {
  if (offset == kActualOffset && size == sizeof config_.actualPages) memcpy(&config_.actualPages, data, size);
}

Status Balloon::load(StateReader* from) {
  config_.actualPages = from->get<uint32_t>();
  return Done{};
}

Status Balloon::onDoorbell(uint32_t index) {
  return carrier().drain(index, [&](const Chain& chain) -> Result<bool> {
    if (index == kInflate) TRY(inflate(chain));
    if (index == kReported) takeReported(chain);
    // Pages that leave the balloon come back when they are touched.
    carrier().queue(index).push(chain.head(), 0);
    return true;
  });
}

Status Balloon::inflate(const Chain& chain) const {
  uint32_t pages[kBatch];
  // A request can be of 4 GiB, over which nobody else would be served.
  const uint32_t count = std::min(chain.readableBytes() / uint32_t{sizeof *pages}, kPagesAtOnce);
  for (uint32_t done = 0; done < count; done += kBatch) {
    const uint32_t here = std::min(count - done, kBatch);
    chain.read(done * uint32_t{sizeof *pages}, pages, here * uint32_t{sizeof *pages});
    std::sort(pages, pages + here);
    for (uint32_t first = 0; first < here;) {
      uint32_t next = first + 1;
      while (next < here && pages[next] == pages[next - 1] + 1) ++next;
      const uint64_t size = uint64_t{next - first} * kPageBytes;
      uint8_t* const host = carrier().memory().at(pages[first] * kPageBytes, size);
      // Two regions never touch, so a run that is no range holds a page that is no RAM.
      if (host == nullptr) return failure("virtio-balloon", EPROTO, "a page outside the guest's RAM");
      carrier().memory().discard(host, size);
      first = next;
    }
  }
  return Done{};
}

void Balloon::takeReported(const Chain& chain) const {
  for (const iovec& range : chain.writable()) {
    const auto from = reinterpret_cast<uint64_t>(range.iov_base);
    // Whole pages of the range; the host's are as large as the guest's.
    const uint64_t first = (from + kPageBytes - 1) / kPageBytes * kPageBytes;
    const uint64_t end = (from + range.iov_len) / kPageBytes * kPageBytes;
    if (first < end) carrier().memory().discard(reinterpret_cast<uint8_t*>(first), end - first);
  }
}

}  // namespace bulkhead::vm
