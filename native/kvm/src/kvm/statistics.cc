#include "kvm/statistics.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <cstring>
#include <utility>
#include <vector>

namespace bulkhead::vm {
namespace {

/** The kernel has some fifty, with names of 48 bytes. */
constexpr uint32_t kMostCounters = 1024;
constexpr uint32_t kLongestName = 256;

/** kvm_stats_desc, which is larger in C++ than in C for the name behind it. */
struct Counter {
  uint32_t flags;
  int16_t exponent;
  uint16_t size;
  uint32_t offset;
  uint32_t bucketBytes;
};
static_assert(sizeof(Counter) == 16);

bool readAt(int fd, void* to, size_t size, uint64_t offset) {
  struct iovec whole = {to, size};
  return preadv(fd, &whole, 1, static_cast<off_t>(offset)) == static_cast<ssize_t>(size);
}

}  // namespace

VcpuStatistic VcpuStatistic::find(int vcpu, std::string_view name) {
  VcpuStatistic none;
  Fd file(ioctl(vcpu, KVM_GET_STATS_FD, nullptr));
  kvm_stats_header header = {};
  if (!file.valid() || fcntl(file.get(), F_SETFD, FD_CLOEXEC) != 0) return none;
  if (!readAt(file.get(), &header, sizeof header, 0)) return none;
  if (header.num_desc > kMostCounters || header.name_size == 0 || header.name_size > kLongestName) return none;
  const size_t step = sizeof(Counter) + header.name_size;
  std::vector<char> entries(header.num_desc * step);
  if (!readAt(file.get(), entries.data(), entries.size(), header.desc_offset)) return none;
  for (const char* entry = entries.data(); entry < entries.data() + entries.size(); entry += step) {
    Counter counter = {};
    memcpy(&counter, entry, sizeof counter);
    const char* const text = entry + sizeof counter;
    if (std::string_view(text, strnlen(text, header.name_size)) != name) continue;
    VcpuStatistic found;
    found.file_ = std::move(file);
    found.offset_ = uint64_t{header.data_offset} + counter.offset;
    return found;
  }
  return none;
}

std::optional<uint64_t> VcpuStatistic::value() const {
  uint64_t value = 0;
  if (!file_.valid() || !readAt(file_.get(), &value, sizeof value, offset_)) return std::nullopt;
  return value;
}

}  // namespace bulkhead::vm
