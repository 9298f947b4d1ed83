// virtio-vsock: virtio 1.2, 5.10, bridged to Unix sockets of the host.
#pragma once

#include <deque>
#include <map>
#include <memory>

#include "events/listener.h"
#include "virtio/vsock_connection.h"

namespace bulkhead::vm {

struct VsockOptions {
  /** The guest's address: 3 or more, and not all ones. */
  uint64_t cid = 0;
  /** A listening Unix stream socket: a program that connects says "CONNECT <port>\n" and reads "OK <port>\n". */
  Fd listener;
  /** A guest that connects to the host's port N reaches the socket `path`_N; empty: none. */
  std::string path;
};

/** Streams each way, none of which can stop another: a stream without credit or buffers waits by itself. */
class Vsock : public Device {
 public:
  /** Of open streams and greetings together. */
  static constexpr size_t kMaxConnections = 1023;
  /** So many answers may wait for the guest's buffers before it has to take some. */
  static constexpr size_t kMaxReplies = 1024;
  /** Of data in one packet to the guest. */
  static constexpr uint32_t kPacketBytes = 64 * 1024;

  /** @returns EINVAL for an address that a guest cannot have */
  static Result<std::unique_ptr<Vsock>> create(VsockOptions options);

  DeviceKind kind() const override { return DeviceKind::vsock; }
  uint32_t queueCount() const override { return 3; }
  std::string_view config() const override {
    return {reinterpret_cast<const char*>(&options_.cid), sizeof options_.cid};
  }
  Status activate() override;
  void reset() override;
  Status onDoorbell(uint32_t queue) override;
  Status onHost(uint64_t token, uint32_t events) override;
  /** Streams end where the machine was; its copy hears that they have. */
  Status load(StateReader* from) override;
  size_t connectionCount() const { return connections_.size(); }

 private:
  using Connections = std::map<uint64_t, std::unique_ptr<VsockConnection>>;

  explicit Vsock(VsockOptions options) : options_(std::move(options)), listener_(std::move(options_.listener)) {}
  Status serve();
  Status listen();
  Result<bool> takePacket(const Chain& chain);
  void takeFor(uint64_t id, const VsockHeader& header, const Chain& chain);
  void takeData(uint64_t id, const VsockHeader& header, const Chain& chain);
  void takeShutdown(uint64_t id, const VsockHeader& header);
  void connectToHost(const VsockHeader& header);
  void acceptFromHost();
  void greet(uint64_t id);
  void hear(uint64_t id, uint32_t events);
  Status give();
  /** These answer false when the guest has no buffers. */
  Result<bool> take(Chain* chain);
  Result<bool> giveReply();
  Result<bool> giveData(uint64_t id);
  uint64_t nextToRead() const;
  uint64_t add(Fd stream, VsockConnection::Stage stage, VsockPorts ports);
  void remove(uint64_t id);
  void refuse(uint64_t id);
  void reply(VsockOperation operation, VsockPorts ports, uint32_t flags = 0);
  void listenTo(uint64_t id);
  uint64_t find(VsockPorts ports) const;

  VsockOptions options_;
  Listener listener_;
  Interest listening_;
  Connections connections_;
  std::map<VsockPorts, uint64_t> ids_;
  uint64_t lastId_ = 0;
  uint32_t lastPort_ = 0;
  /** The stream that was given data last: the next one is next. */
  uint64_t turn_ = 0;
  /** Packets without data that the guest has not got yet. */
  std::deque<VsockHeader> replies_;
  /** Told that all streams ended; only what is connected after it has heard that lasts. */
  bool hearsOfReset_ = false;
  uint16_t eventsWaiting_ = 0;
  /** The guest's packets wait until it has taken some of those. */
  bool declined_ = false;
  Chain given_;
};

}  // namespace bulkhead::vm
