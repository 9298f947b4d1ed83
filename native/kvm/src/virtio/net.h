// virtio-net: virtio 1.2, 5.1, over a tap device.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "virtio/gathered.h"
#include "virtio/interest.h"
#include "virtio/rate_limit.h"

namespace bulkhead::vm {

using MacAddress = std::array<uint8_t, 6>;

struct NetOptions {
  /** A tap device's descriptor (IFF_TAP, IFF_NO_PI, IFF_VNET_HDR), or a socket of messages that are the same. */
  Fd frames;
  /** The only address that the guest may send from. */
  MacAddress address = {};
  uint16_t mtu = 1500;
  RateLimits sending;
  RateLimits receiving;
};

struct NetCounts {
  uint64_t sent = 0;
  uint64_t received = 0;
  /** From another address than the guest's, too short, too long, or with a header that means nothing. */
  uint64_t refused = 0;
  /** The host did not take it. */
  uint64_t notSent = 0;
  /** The guest's buffers cannot hold it, however many. */
  uint64_t notReceived = 0;
};

/**
 * A network card whose segmentation and checksums are the host's: frames of up to 64 KiB each way, in as many buffers
 * as they take. A frame of the host waits for buffers; a frame of the guest does not wait for the host.
 */
class Net : public Device {
 public:
  /** @returns EINVAL for an MTU that is none, or what the host says of the tap device */
  static Result<std::unique_ptr<Net>> create(NetOptions options);

  DeviceKind kind() const override { return DeviceKind::net; }
  uint32_t queueCount() const override { return 2; }
  uint64_t features() const override;
  std::string_view config() const override { return {reinterpret_cast<const char*>(&config_), sizeof config_}; }
  Status activate() override;
  void reset() override;
  Status onDoorbell(uint32_t queue) override;
  Status onHost(uint64_t token, uint32_t events) override;
  const NetCounts& counts() const { return counts_; }

 private:
  /** Virtio 1.2, 5.1.4. */
  struct [[gnu::packed]] Config {
    MacAddress address = {};
    uint16_t status = 1;
    uint16_t maxQueuePairs = 1;
    uint16_t mtu = 0;
  };
  enum class Sent { yes, no, refused };
  enum class Received { frame, nothing, noRoom };

  Net(NetOptions options, RateLimit sending, RateLimit receiving, bool tap);
  Status send();
  Sent sendFrame(const Chain& chain);
  long transfer(short events, Span<const iovec> pieces);
  Status receive();
  Result<Received> receiveStraight(Gathered* buffers);
  bool fetch();
  bool isFrame(long count);
  Status listen(bool wanted);
  Result<bool> deliver();
  Result<uint32_t> fill();

  NetOptions options_;
  RateLimit sending_;
  RateLimit receiving_;
  bool tap_;
  /** The host can be asked without waiting, in one call. */
  bool atOnce_ = true;
  Config config_;
  NetCounts counts_;
  Interest interest_;
  /** A frame that the guest has not got yet, header included; 0 bytes is none. */
  std::vector<uint8_t> frame_;
  size_t frameBytes_ = 0;
  /** It was within the limit. */
  bool admitted_ = false;
  /** The last frame was one for which a copy is dear. */
  bool large_ = false;
  /** The host's side is gone. */
  bool ended_ = false;
  Chain first_;
  Chain more_;
  struct Filled {
    uint16_t head;
    uint32_t sizeBytes;
  };
  std::vector<Filled> filled_;
};

}  // namespace bulkhead::vm
