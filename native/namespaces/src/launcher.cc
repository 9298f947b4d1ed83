#include "launcher.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>

#include "init/report.h"

namespace bulkhead {
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
// Sources are duplicated above every number that posix_spawn fills, so that no copy overwrites another's source.
constexpr int kFirstFree = 16;

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

Result<Launched> Launcher::launch(const char* mode, std::string_view plan, std::span<const int, 3> stdio, int relay) {
  Fd planFile = TRY(sealedFile("bulkhead-plan", plan));
  sys::Pair pair = TRY(sys::socketPair(SOCK_SEQPACKET | SOCK_NONBLOCK));
  // The shim's end blocks: it has nothing else to do while it waits.
  if (fcntl(pair.right.get(), F_SETFL, 0) < 0) return failure("fcntl", errno);

  const int targets[] = {0, 1, 2, init::kPlanFd, init::kReportFd, init::kRelayFd};
  const int sources[] = {stdio[0], stdio[1], stdio[2], planFile.get(), pair.right.get(), relay};
  Fd copies[6];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  Status copied = Done{};
  for (int index = 0; index < 6 && copied.ok(); ++index) {
    if (index == 5 && relay < 0) break;
    const int source = sources[index] < 0 ? devNull_.get() : sources[index];
    Result<Fd> copy = sys::duplicate(source, kFirstFree);
    if (!copy.ok()) {
      copied = copy.error();
      break;
    }
    copies[index] = copy.take();
    posix_spawn_file_actions_adddup2(&actions, copies[index].get(), targets[index]);
  }
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
  char* arguments[] = {name, const_cast<char*>(mode), nullptr};
  char* environment[] = {nullptr};
  pid_t pid = 0;
  // posix_spawn shares memory with the child until it execs (CLONE_VM | CLONE_VFORK): no page tables are copied.
  const int err = copied.ok() ? posix_spawn(&pid, path, &actions, &attributes, arguments, environment) : 0;
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (!copied.ok()) return copied.error();
  if (err != 0) return failure("posix_spawn", err, "bulkhead-init");
  // Not reaped yet by anyone but us, so the number still means this process.
  Fd pidfd = TRY(sys::openPid(pid));
  return Launched{pid, std::move(pidfd), std::move(pair.left)};
}

}  // namespace bulkhead
