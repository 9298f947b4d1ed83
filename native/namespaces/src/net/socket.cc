#include "net/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::net {
namespace {

/** Large enough for the biggest answer of the kernel, in bytes (NLMSG_GOODSIZE is 8 KiB; dumps use up to 32). */
constexpr size_t kReceiveBytes = 64 * 1024;
constexpr int kBufferBytes = 4 << 20;
/** The kernel answers within the send call, so this only bounds what cannot happen. */
constexpr int kPatienceMs = 30'000;
constexpr int kMaxRepeats = 16;
// include/linux/err.h
constexpr int kMaxErrno = 4095;

Result<std::string> receive(int socket) {
  std::string bytes(kReceiveBytes, '\0');
  struct pollfd slot = {socket, POLLIN, 0};
  const int ready = sys::retry([&] { return poll(&slot, 1, kPatienceMs); });
  if (ready == 0) return failure("recv", ETIMEDOUT, "netlink");
  const ssize_t size = sys::retry([&] { return recv(socket, bytes.data(), bytes.size(), 0); });
  if (size < 0) return failure("recv", errno, "netlink");
  bytes.resize(static_cast<size_t>(size));
  return bytes;
}

Status send(int socket, const std::string& bytes) {
  const ssize_t sent = sys::retry([&] { return ::send(socket, bytes.data(), bytes.size(), 0); });
  if (sent != static_cast<ssize_t>(bytes.size())) return failure("send", sent < 0 ? errno : EMSGSIZE, "netlink");
  return Done{};
}

Result<Fd> openHere(Protocol protocol) {
  Fd made(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol == Protocol::route ? NETLINK_ROUTE : NETLINK_NETFILTER));
  if (!made.valid()) return failure("socket", errno, "netlink");
  const int on = 1;
  // Best effort: without them answers say less, and very large batches need a larger system limit.
  (void)setsockopt(made.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  (void)setsockopt(made.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kBufferBytes, sizeof kBufferBytes);
  (void)setsockopt(made.get(), SOL_SOCKET, SO_SNDBUFFORCE, &kBufferBytes, sizeof kBufferBytes);
  return made;
}

bool accepted(const Expectation& expected, int err) {
  if (err == 0) return true;
  if (expected.mayExist && err == EEXIST) return true;
  return expected.mayBeMissing && (err == ENOENT || err == ENODEV || err == ESRCH || err == EADDRNOTAVAIL);
}

}  // namespace

Result<Fd> openSocket(Protocol protocol, int space) {
  if (space < 0) return openHere(protocol);
  const Fd own = TRY(sys::openAt(AT_FDCWD, "/proc/thread-self/ns/net", O_RDONLY));
  TRY(sys::enterNamespace(space, CLONE_NEWNET));
  Result<Fd> made = openHere(protocol);
  // Whatever else this thread did from now on would happen in a stranger's network.
  if (!sys::enterNamespace(own.get(), CLONE_NEWNET).ok()) abort();
  return made;
}

Error decodeAnswer(std::string_view body, uint16_t flags) {
  struct nlmsgerr answer;
  if (body.size() < sizeof answer) return failure("netlink", EBADMSG);
  memcpy(&answer, body.data(), sizeof answer);
  // 0 or a negated errno (netlink(7)); anything else is no answer.
  if (answer.error > 0 || answer.error < -kMaxErrno) return failure("netlink", EBADMSG);
  Error error = failure("netlink", -answer.error);
  if ((flags & NLM_F_ACK_TLVS) == 0) return error;
  // The request follows whole unless it was capped; attributes come after it.
  const size_t quoted = (flags & NLM_F_CAPPED) != 0 ? sizeof(struct nlmsghdr) : answer.msg.nlmsg_len;
  const size_t at = (sizeof answer.error + quoted + 3) & ~size_t{3};
  if (quoted < sizeof(struct nlmsghdr) || at > body.size()) return error;
  for (Attributes attributes(body.substr(at)); attributes.next();) {
    if (attributes.type() == NLMSGERR_ATTR_MSG) error.path.assign(attributes.text());
  }
  return error;
}

bool transact(int socket, const Batch& batch, Refused* refused) {
  if (batch.expected.empty()) return true;
  const auto broken = [&](const Error& error) {
    *refused = {0, error};
    return false;
  };
  Status sent = send(socket, batch.messages.bytes());
  if (!sent.ok()) return broken(sent.error());
  bool good = true;
  for (bool done = false; !done;) {
    Result<std::string> bytes = receive(socket);
    if (!bytes.ok()) return broken(bytes.error());
    for (Messages messages(bytes.value()); messages.next();) {
      if (messages.head().nlmsg_type != NLMSG_ERROR) continue;
      const Error error = decodeAnswer(messages.body(), messages.head().nlmsg_flags);
      const uint32_t sequence = messages.head().nlmsg_seq;
      const auto found = std::find_if(batch.expected.begin(), batch.expected.end(),
                                      [&](const Expectation& each) { return each.sequence == sequence; });
      // An answer to what frames a transaction: all of it was refused (not permitted, no such subsystem).
      if (found == batch.expected.end()) {
        if (error.err != 0) return broken(error);
        continue;
      }
      done = done || sequence == batch.expected.back().sequence;
      if (accepted(*found, error.err) || !good) continue;
      good = false;
      *refused = {found->index, error};
    }
    // A refused transaction answers for what failed and nothing else.
    if (!good) return false;
  }
  return true;
}

Result<std::vector<std::string>> dump(int socket, const std::string& request) {
  for (int repeat = 0; repeat < kMaxRepeats; ++repeat) {
    TRY(send(socket, request));
    std::vector<std::string> datagrams;
    bool interrupted = false;
    for (bool done = false; !done;) {
      datagrams.push_back(TRY(receive(socket)));
      for (Messages messages(datagrams.back()); messages.next();) {
        interrupted = interrupted || (messages.head().nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        if (messages.head().nlmsg_type == NLMSG_DONE) done = true;
        if (messages.head().nlmsg_type != NLMSG_ERROR) continue;
        const Error error = decodeAnswer(messages.body(), messages.head().nlmsg_flags);
        if (error.err != 0) return error;
        done = true;
      }
    }
    if (!interrupted) return datagrams;
  }
  return failure("netlink", EINTR, "the kernel's list kept changing");
}

Result<Fd> holdPort(bool udp, const std::string& address, uint16_t port) {
  const std::string bytes = addressBytes(address);
  if (bytes.empty()) return failure("bind", EINVAL, address);
  const bool six = bytes.size() == 16;
  Fd made(socket(six ? AF_INET6 : AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0));
  if (!made.valid()) return failure("socket", errno, address);
  int bound = 0;
  if (six) {
    const int on = 1;
    if (setsockopt(made.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0) return failure("setsockopt", errno);
    struct sockaddr_in6 where = {};
    where.sin6_family = AF_INET6;
    where.sin6_port = htons(port);
    memcpy(&where.sin6_addr, bytes.data(), bytes.size());
    bound = bind(made.get(), reinterpret_cast<struct sockaddr*>(&where), sizeof where);
  } else {
    struct sockaddr_in where = {};
    where.sin_family = AF_INET;
    where.sin_port = htons(port);
    memcpy(&where.sin_addr, bytes.data(), bytes.size());
    bound = bind(made.get(), reinterpret_cast<struct sockaddr*>(&where), sizeof where);
  }
  if (bound < 0) return failure("bind", errno, address);
  return made;
}

}  // namespace bulkhead::net
