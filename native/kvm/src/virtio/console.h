// virtio-console with one port: virtio 1.2, 5.3.
#pragma once

#include "devices/output.h"
#include "virtio/interest.h"

namespace bulkhead::vm {

/**
 * A byte stream each way. What the host does not take of the guest's output at once is gone and counted; of the host's
 * input, only as much is read as the guest has buffers for.
 */
class Console : public Device {
 public:
  /** `input` may be none; at its end, or when it cannot be waited for, the guest hears nothing more. */
  Console(Fd input, Output output) : input_(std::move(input)), output_(std::move(output)) {}

  DeviceKind kind() const override { return DeviceKind::console; }
  uint32_t queueCount() const override { return 2; }
  Status activate() override;
  void reset() override;
  Status onDoorbell(uint32_t queue) override;
  Status onHost(uint64_t token, uint32_t events) override;

 private:
  Status receive();
  Status transmit();
  void listen(bool wanted);

  Fd input_;
  Output output_;
  Interest interest_;
  bool ended_ = false;
};

}  // namespace bulkhead::vm
