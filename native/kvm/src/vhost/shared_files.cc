#include "vhost/shared_files.h"

#include <sys/epoll.h>

#include <cerrno>
#include <cstring>

namespace bulkhead::vm {
namespace {

constexpr uint32_t kEventIndexBit = 29;
constexpr uint64_t kEventIndex = uint64_t{1} << kEventIndexBit;
constexpr uint64_t kVersion1 = uint64_t{1} << 32;

}  // namespace

Result<std::unique_ptr<SharedFiles>> SharedFiles::create(Fd socket, std::string_view tag, uint32_t patienceMs) {
  if (tag.empty() || tag.size() > sizeof Config::tag) return failure("shared files", EINVAL, "a tag has 1 to 36 bytes");
  // What the registers offer the driver, the back end has to do.
  VhostFrontEnd backEnd = TRY(VhostFrontEnd::create(std::move(socket), kVersion1 | kEventIndex, patienceMs));
  std::vector<EventFd> kicks;
  std::vector<EventFd> calls;
  for (uint32_t queue = 0; queue < kQueues; ++queue) {
    kicks.push_back(TRY(EventFd::create()));
    calls.push_back(TRY(EventFd::create()));
  }
  return std::unique_ptr<SharedFiles>(new SharedFiles(std::move(backEnd), tag, std::move(kicks), std::move(calls)));
}

SharedFiles::SharedFiles(VhostFrontEnd backEnd, std::string_view tag, std::vector<EventFd> kicks,
                         std::vector<EventFd> calls)
    : backEnd_(std::move(backEnd)), kicks_(std::move(kicks)), calls_(std::move(calls)) {
  memcpy(config_.tag, tag.data(), tag.size());
  config_.requestQueues = 1;
}

Status SharedFiles::activate() {
  const uint64_t features = kVersion1 | (carrier().hasFeature(kEventIndexBit) ? kEventIndex : 0);
  TRY(backEnd_.begin(features, carrier().memory()));
  for (uint32_t queue = 0; queue < kQueues; ++queue) {
    const QueueSetup& setup = carrier().setup(queue);
    if (!setup.ready) return failure("shared files", EPROTO, "a queue that is not ready");
    TRY(carrier().watch(calls_[queue].get(), EPOLLIN, queue));
    // One that refuses a step of it may have the others.
    given_ = queue + 1;
    TRY(backEnd_.start(queue, setup, carrier().memory(), kicks_[queue], calls_[queue]));
  }
  return carrier().watch(backEnd_.socket(), EPOLLIN | EPOLLRDHUP, kBackEndToken);
}

void SharedFiles::reset() {
  carrier().forget(backEnd_.socket());
  for (const EventFd& call : calls_) carrier().forget(call.get());
  // One that does not let go of the guest's memory is gone, or as good as that: nobody will ask it again.
  bool here = true;
  for (uint32_t queue = 0; here && queue < given_; ++queue) here = backEnd_.stop(queue).ok();
  given_ = 0;
}

Status SharedFiles::onDoorbell(uint32_t queue) {
  kicks_[queue].signal();
  return Done{};
}

Status SharedFiles::onHost(uint64_t token, uint32_t) {
  if (token == kBackEndToken) return failure("shared files", ECONNRESET, "its server");
  if (token < kQueues && calls_[token].take()) carrier().servedElsewhere();
  return Done{};
}

}  // namespace bulkhead::vm
