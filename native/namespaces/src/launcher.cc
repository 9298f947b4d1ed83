#include "launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "plan/plan.h"
#include "sys/file.h"
#include "sys/procfs.h"
#include "sys/retry.h"
#include "sys/sealed.h"
#include "sys/spawn.h"

namespace bulkhead {
namespace {

// A fork takes a tenth of a millisecond; a host that cannot do one in this time cannot run anything.
constexpr int kAnswerMs = 10'000;

}  // namespace

Status Launcher::load(const std::string& initPath) {
  Fd source = TRY(sys::openAt(AT_FDCWD, initPath.c_str(), O_RDONLY));
  init_ = TRY(sys::sealedProgram("bulkhead-init", source.get()));
  devNull_ = TRY(sys::openAt(AT_FDCWD, "/dev/null", O_RDWR));
  return Done{};
}

Launcher::~Launcher() {
  stopServer();
}

Status Launcher::startServer() {
  sys::Pair pair = TRY(sys::socketPair(SOCK_SEQPACKET));
  if (fcntl(pair.right.get(), F_SETFL, O_NONBLOCK) < 0) return failure("fcntl", errno);
  bell_ = TRY(sys::opened("eventfd", [&] { return eventfd(0, EFD_CLOEXEC); }));
  sys::Spawn spawn(init::kBellFd + 1);
  for (int fd = 0; fd < 3; ++fd) TRY(spawn.pass(devNull_.get(), fd));
  TRY(spawn.pass(pair.right.get(), init::kServerFd));
  TRY(spawn.pass(bell_.get(), init::kBellFd));
  spawn.resetSignals();
  char name[] = "bulkhead-init";
  char mode[] = "serve";
  char* arguments[] = {name, mode, nullptr};
  serverPid_ = TRY(spawn.run(init_.get(), arguments));
  Status placed = placeServer();
  // A shim elsewhere would end with whoever is ended there.
  if (!placed.ok()) {
    stopServer();
    return placed;
  }
  server_ = std::move(pair.left);
  return Done{};
}

Status Launcher::placeServer() {
  if (cgroups_.empty()) return Done{};
  char text[16];
  const int size = snprintf(text, sizeof text, "%d", TRY(sys::numberOf(serverPid_.get())));
  for (const std::string& path : cgroups_) {
    const Fd directory = TRY(sys::openAt(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    Status moved = sys::writeFile(directory.get(), "cgroup.procs", {text, static_cast<size_t>(size)});
    if (!moved.ok()) return failure(moved.error().op, moved.error().err, path);
  }
  return Done{};
}

void Launcher::placeIn(const std::vector<std::string>& cgroups) {
  if (cgroups == cgroups_) return;
  stopServer();
  cgroups_ = cgroups;
}

void Launcher::stopServer() {
  server_.reset();
  if (!serverPid_.valid()) return;
  // It keeps nothing and may hang; its forks are not its children.
  (void)sys::signalPid(serverPid_.get(), SIGKILL).ok();
  (void)sys::reap(serverPid_.get(), true).ok();
  serverPid_.reset();
}

Status Launcher::send(const init::ForkRequest& request, std::span<const int> fds) {
  if (!server_.valid()) TRY(startServer());
  TRY(sys::sendMessage(server_.get(), &request, sizeof request, fds.data(), fds.size()));
  const uint64_t ring = 1;
  return sys::writeAll(bell_.get(), &ring, sizeof ring);
}

Result<Fd> Launcher::fork(init::Mode mode, std::span<const int, 3> stdio, int relay, std::string_view birth) {
  sys::Pair pair = TRY(sys::socketPair(SOCK_SEQPACKET | SOCK_NONBLOCK));
  // The shim's end blocks: it has nothing else to do while it waits.
  if (fcntl(pair.right.get(), F_SETFL, 0) < 0) return failure("fcntl", errno);
  const auto orNull = [&](int fd) { return fd < 0 ? devNull_.get() : fd; };
  const int fds[] = {pair.right.get(), orNull(stdio[0]), orNull(stdio[1]), orNull(stdio[2]), relay};
  const std::span<const int> passed(fds, relay < 0 ? init::kForkFds : init::kForkFdsWithRelay);
  const init::ForkRequest request = {mode};
  if (!birth.empty()) TRY(hand(pair.left.get(), birth));
  Status sent = send(request, passed);
  if (!sent.ok()) {
    // Killed by somebody since the last start, so it has not seen this one.
    stopServer();
    sent = send(request, passed);
  }
  if (!sent.ok()) return sent.error();
  return std::move(pair.left);
}

Result<Forked> Launcher::await(int report) {
  struct pollfd slot = {report, POLLIN, 0};
  // A server that does not answer must not hold up the agent's only thread for ever.
  if (sys::retry([&] { return poll(&slot, 1, kAnswerMs); }) <= 0) return failure("poll", ETIMEDOUT, "fork server");
  init::ForkReply reply = {};
  int pidfd = -1;
  const sys::Received received = TRY(sys::receiveMessage(report, &reply, sizeof reply, &pidfd, 1));
  Fd process(received.fdCount == 1 ? pidfd : -1);
  if (received.size != sizeof reply) return failure("recvmsg", ECONNRESET, "fork server");
  if (!process.valid()) return failure("clone3", reply.err == 0 ? EMFILE : reply.err, "bulkhead-init");
  return Forked{reply.pid, std::move(process)};
}

Status Launcher::hand(int report, std::string_view plan, std::span<const int> descriptors) {
  if (descriptors.size() > plan::kMaxHandedFds) return failure("sendmsg", EINVAL, "too many descriptors");
  Fd file = TRY(sys::sealedBytes("bulkhead-plan", plan));
  int passed[1 + plan::kMaxHandedFds] = {file.get()};
  std::copy(descriptors.begin(), descriptors.end(), passed + 1);
  return sys::sendMessage(report, "p", 1, passed, 1 + descriptors.size());
}

}  // namespace bulkhead
