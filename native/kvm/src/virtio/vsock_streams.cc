// Vsock's streams on the host's side; its queues are in vsock.cc.
#include <sys/socket.h>
#include <sys/un.h>

#include "sys/retry.h"
#include "virtio/vsock.h"

namespace bulkhead::vm {
namespace {

/** Ports of programs that connect to the guest; what guests use themselves is far below. */
constexpr uint32_t kFirstHostPort = 1u << 30;

Result<Fd> connectTo(const std::string& path) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  Fd fd = TRY(sys::opened("socket", [] { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }));
  // It does not wait: a program that accepts nothing is as good as none.
  TRY(sys::check("connect", [&] {
    return connect(fd.get(), reinterpret_cast<const struct sockaddr*>(&address), sizeof address);
  }));
  return fd;
}

}  // namespace

void Vsock::connectToHost(const VsockHeader& header) {
  const VsockPorts ports = {header.sourcePort, header.destinationPort};
  if (options_.path.empty() || connections_.size() >= kMaxConnections) return reply(VsockOperation::reset, ports);
  auto stream = connectTo(options_.path + '_' + std::to_string(ports.host));
  if (!stream.ok()) return reply(VsockOperation::reset, ports);
  const uint64_t id = add(stream.take(), VsockConnection::Stage::open, ports);
  connections_.at(id)->credit(header);
  reply(VsockOperation::response, ports);
}

void Vsock::acceptFromHost() {
  Fd stream = listener_.accept();
  const bool room = connections_.size() < kMaxConnections && replies_.size() < kMaxReplies;
  if (!stream.valid() || !room) return;
  // Its ports are known when it has said which it wants.
  listenTo(add(std::move(stream), VsockConnection::Stage::greeting, {}));
}

void Vsock::greet(uint64_t id) {
  VsockConnection& connection = *connections_.at(id);
  uint32_t port = 0;
  const auto greeting = connection.readGreeting(&port);
  if (greeting == VsockConnection::Greeting::incomplete) return;
  if (greeting == VsockConnection::Greeting::wrong) return remove(id);
  do {
    connection.ports = {port, kFirstHostPort + lastPort_++ % kFirstHostPort};
  } while (ids_.contains(connection.ports));
  ids_[connection.ports] = id;
  connection.stage = VsockConnection::Stage::requested;
  reply(VsockOperation::request, connection.ports);
  listenTo(id);
}

void Vsock::hear(uint64_t id, uint32_t events) {
  VsockConnection& connection = *connections_.at(id);
  if (connection.stage == VsockConnection::Stage::greeting) return greet(id);
  // A program that does not wait for the answer.
  if (connection.stage == VsockConnection::Stage::requested) return refuse(id);
  if ((events & EPOLLOUT) != 0) {
    if (!connection.flush()) return refuse(id);
    if (connection.closing && !connection.waiting()) return refuse(id);
    if (connection.owesCredit()) reply(VsockOperation::creditUpdate, connection.ports);
  }
  if ((events & ~uint32_t{EPOLLOUT}) != 0) connection.readable = true;
  listenTo(id);
}

uint64_t Vsock::add(Fd stream, VsockConnection::Stage stage, VsockPorts ports) {
  const uint64_t id = ++lastId_;
  connections_[id] = std::make_unique<VsockConnection>(std::move(stream), stage, ports);
  if (stage != VsockConnection::Stage::greeting) ids_[ports] = id;
  return id;
}

void Vsock::remove(uint64_t id) {
  VsockConnection& connection = *connections_.at(id);
  // Forgetting cannot fail.
  (void)connection.interest.set(&carrier(), connection.fd(), 0, id).ok();
  if (connection.stage != VsockConnection::Stage::greeting) ids_.erase(connection.ports);
  connections_.erase(id);
}

void Vsock::refuse(uint64_t id) {
  reply(VsockOperation::reset, connections_.at(id)->ports);
  remove(id);
}

void Vsock::listenTo(uint64_t id) {
  VsockConnection& connection = *connections_.at(id);
  uint32_t events = 0;
  switch (connection.stage) {
    case VsockConnection::Stage::greeting:
      events = EPOLLIN;
      break;
    case VsockConnection::Stage::requested:
      events = EPOLLRDHUP;
      break;
    case VsockConnection::Stage::open:
      if (!connection.readable && !connection.readingEnded) events |= EPOLLIN;
      if (connection.waiting()) events |= EPOLLOUT;
      break;
  }
  if (!connection.interest.set(&carrier(), connection.fd(), events, id).ok()) refuse(id);
}

}  // namespace bulkhead::vm
