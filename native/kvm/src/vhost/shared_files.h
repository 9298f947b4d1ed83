// virtio-fs: virtio 1.2, 5.11. A directory of the host, whose files another process serves.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "vhost/front_end.h"
#include "virtio/device.h"

namespace bulkhead::vm {

/** Registers and doorbells; the queues are the back end's, which is told of them when the driver is ready. */
class SharedFiles : public Device {
 public:
  /** `socket` is connected to a server; guests mount by `tag`. @returns EINVAL for a tag of more than 36 bytes */
  static Result<std::unique_ptr<SharedFiles>> create(Fd socket, std::string_view tag,
                                                     uint32_t patienceMs = VhostFrontEnd::kPatienceMs);

  DeviceKind kind() const override { return DeviceKind::files; }
  uint32_t queueCount() const override { return kQueues; }
  std::string_view config() const override { return {reinterpret_cast<const char*>(&config_), sizeof config_}; }
  bool servedElsewhere() const override { return true; }
  Status activate() override;
  void reset() override;
  Status onDoorbell(uint32_t queue) override;
  Status onHost(uint64_t token, uint32_t events) override;

 private:
  /** One for what must not wait, and one for requests. */
  static constexpr uint32_t kQueues = 2;
  static constexpr uint64_t kBackEndToken = kQueues;
  struct __attribute__((packed)) Config {
    char tag[36];
    uint32_t requestQueues;
  };

  SharedFiles(VhostFrontEnd backEnd, std::string_view tag, std::vector<EventFd> kicks, std::vector<EventFd> calls);

  VhostFrontEnd backEnd_;
  Config config_ = {};
  std::vector<EventFd> kicks_;
  std::vector<EventFd> calls_;
  /** Queues that the back end was given, the last of which it may have refused. */
  uint32_t given_ = 0;
};

}  // namespace bulkhead::vm
