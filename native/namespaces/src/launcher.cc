#include "launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>

#include "sys/retry.h"

namespace bulkhead {
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
// Sources are duplicated above every number that posix_spawn fills, so that no copy overwrites another's source.
constexpr int kFirstFree = 16;
// A fork takes a tenth of a millisecond; a host that cannot do one in this time cannot run anything.
constexpr int kAnswerMs = 10'000;

Result<Fd> sealedFile(const char* name, std::string_view bytes) {
  Fd file = TRY(sys::memoryFile(name, MFD_ALLOW_SEALING));
  TRY(sys::writeAll(file.get(), bytes.data(), bytes.size()));
  if (fcntl(file.get(), F_ADD_SEALS, kSeals) < 0) return failure("fcntl F_ADD_SEALS", errno, name);
  return file;
}

}  // namespace

Status Launcher::load(const std::string& initPath) {
  Fd source = TRY(sys::openAt(AT_FDCWD, initPath.c_str(), O_RDONLY));
  const struct stat status = TRY(sys::statusOf(source.get()));
  Fd copy = TRY(sys::memoryFile("bulkhead-init", MFD_ALLOW_SEALING));
  for (off_t left = status.st_size; left > 0;) {
    const ssize_t sent = sendfile(copy.get(), source.get(), nullptr, static_cast<size_t>(left));
    if (sent <= 0) return failure("sendfile", sent == 0 ? EIO : errno, initPath);
    left -= sent;
  }
  if (fcntl(copy.get(), F_ADD_SEALS, kSeals) < 0) return failure("fcntl F_ADD_SEALS", errno, initPath);
  // Reopened read-only: executing a file that anybody has open for writing is ETXTBSY.
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", copy.get());
  Fd readOnly = TRY(sys::openAt(AT_FDCWD, path, O_RDONLY));
  copy.reset();
  init_ = TRY(sys::duplicate(readOnly.get(), kFirstFree));
  Fd null = TRY(sys::openAt(AT_FDCWD, "/dev/null", O_RDWR));
  devNull_ = TRY(sys::duplicate(null.get(), kFirstFree));
  return Done{};
}

Launcher::~Launcher() {
  stopServer();
}

Status Launcher::startServer() {
  sys::Pair pair = TRY(sys::socketPair(SOCK_SEQPACKET));
  Fd theirs = TRY(sys::duplicate(pair.right.get(), kFirstFree));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int fd = 0; fd < 3; ++fd) posix_spawn_file_actions_adddup2(&actions, devNull_.get(), fd);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), init::kServerFd);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t all;
  sigset_t none;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", init_.get());
  char name[] = "bulkhead-init";
  char mode[] = "serve";
  char* arguments[] = {name, mode, nullptr};
  char* environment[] = {nullptr};
  pid_t pid = 0;
  // posix_spawn shares memory with the child until it execs (CLONE_VM | CLONE_VFORK): no page tables are copied.
  const int err = posix_spawn(&pid, path, &actions, &attributes, arguments, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (err != 0) return failure("posix_spawn", err, "bulkhead-init");
  // Not reaped yet by anyone but us, so the number still means this process.
  serverPid_ = TRY(sys::openPid(pid));
  server_ = std::move(pair.left);
  return Done{};
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
  return sys::sendMessage(server_.get(), &request, sizeof request, fds.data(), fds.size());
}

Result<Fd> Launcher::fork(init::Mode mode, std::span<const int, 3> stdio, int relay) {
  sys::Pair pair = TRY(sys::socketPair(SOCK_SEQPACKET | SOCK_NONBLOCK));
  // The shim's end blocks: it has nothing else to do while it waits.
  if (fcntl(pair.right.get(), F_SETFL, 0) < 0) return failure("fcntl", errno);
  const auto orNull = [&](int fd) { return fd < 0 ? devNull_.get() : fd; };
  const int fds[] = {pair.right.get(), orNull(stdio[0]), orNull(stdio[1]), orNull(stdio[2]), relay};
  const std::span<const int> passed(fds, relay < 0 ? init::kForkFds : init::kForkFdsWithRelay);
  const init::ForkRequest request = {mode};
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

Status Launcher::hand(int report, std::string_view plan) {
  Fd file = TRY(sealedFile("bulkhead-plan", plan));
  const int passed = file.get();
  return sys::sendMessage(report, "p", 1, &passed, 1);
}

}  // namespace bulkhead
