// virtio-rng: virtio 1.2, 5.4.
#pragma once

#include "virtio/device.h"

namespace bulkhead::vm {

/** Random bytes from the host's kernel. */
class Entropy : public Device {
 public:
  DeviceKind kind() const override { return DeviceKind::entropy; }
  uint32_t queueCount() const override { return 1; }
  Status onDoorbell(uint32_t queue) override;
};

}  // namespace bulkhead::vm
