// virtio-console with named ports for what a guest's programs say: virtio 1.2, 5.3 with VIRTIO_CONSOLE_F_MULTIPORT.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "devices/output.h"
#include "virtio/interest.h"

namespace bulkhead::vm {

/** A port of the guest's, and where its bytes go. */
struct NamedOutput {
  std::string name;
  Output output;
};

/**
 * Byte streams from the guest, none of which loses anything: what the host does not take stays in the guest's buffers,
 * whose program waits. A port whose reader is gone takes everything and counts it.
 */
class Ports : public Device {
 public:
  static constexpr uint32_t kControlReceive = 2;
  static constexpr uint32_t kControlSend = 3;
  /** Of one turn of a port: others have theirs. */
  static constexpr size_t kTurnBytes = 64 * 1024;
  /** So many words may wait for the guest's buffers before it has to take some. */
  static constexpr size_t kMaxReplies = 64;
  /** How long the host may take nothing, once the machine is over, before the rest is given up. */
  static constexpr int kPatienceMs = 5000;

  explicit Ports(std::vector<NamedOutput> outputs);

  DeviceKind kind() const override { return DeviceKind::console; }
  uint32_t queueCount() const override { return static_cast<uint32_t>(2 * (ports_.size() + 1)); }
  uint64_t features() const override { return uint64_t{1} << 1; }
  std::string_view config() const override { return {reinterpret_cast<const char*>(&config_), sizeof config_}; }
  void reset() override;
  Status onDoorbell(uint32_t queue) override;
  Status onHost(uint64_t token, uint32_t events) override;
  void conclude(uint64_t untilNs) override;
  void save(StateWriter* to) const override;
  Status load(StateReader* from) override;

  /** The queue from which a port's bytes come. */
  static uint32_t sendQueue(size_t port) { return static_cast<uint32_t>(port == 0 ? 1 : 2 * port + 3); }

 private:
  struct Config {
    uint16_t columns = 0;
    uint16_t rows = 0;
    uint32_t ports = 0;
    uint32_t emergencyWrite = 0;
  };
  struct Port {
    NamedOutput named;
    Interest interest;
    /** Of the request that waits. */
    uint64_t takenBytes = 0;
    bool waits = false;
  };
  struct Word {
    uint32_t port = 0;
    uint16_t event = 0;
    uint16_t value = 0;
  };

  Status transmit(size_t port);
  bool transmitOne(Port* port, const Chain& chain);
  Status takeWords();
  void hear(const Word& word);
  Status giveWords();
  void listen(size_t port, bool wanted);

  Config config_;
  std::vector<Port> ports_;
  std::deque<Word> replies_;
};

}  // namespace bulkhead::vm
