// virtio-balloon: virtio 1.2, 5.5.
#pragma once

#include "virtio/device.h"

namespace bulkhead::vm {

/**
 * Gives memory that the guest does not use back to the host: pages that it puts into the balloon, which has the size
 * that the host wishes, and pages that it reports as free. A guest that runs out of memory takes pages back by itself.
 * The size that was promised to the guest stays the same: what it touches again is there again, and empty.
 */
class Balloon : public Device {
 public:
  static constexpr uint64_t kPageBytes = 4096;
  /** Of one request; more stay with the guest. Drivers send 256, or a page of numbers. */
  static constexpr uint32_t kPagesAtOnce = 1024;

  explicit Balloon(uint32_t wishedPages) { config_.wishedPages = wishedPages; }

  DeviceKind kind() const override { return DeviceKind::balloon; }
  uint32_t queueCount() const override { return 3; }
  uint64_t features() const override;
  std::string_view config() const override { return {reinterpret_cast<const char*>(&config_), sizeof config_}; }
  void writeConfig(uint64_t offset, const uint8_t* data, uint32_t size) override;
  void reset() override { config_.actualPages = 0; }
  Status onDoorbell(uint32_t queue) override;
  void save(StateWriter* to) const override { to->put(config_.actualPages); }
  Status load(StateReader* from) override;

 private:
  struct Config {
    uint32_t wishedPages = 0;
    /** What the guest says. */
    uint32_t actualPages = 0;
  };
  Status inflate(const Chain& chain) const;
  void takeReported(const Chain& chain) const;

  Config config_;
};

}  // namespace bulkhead::vm
