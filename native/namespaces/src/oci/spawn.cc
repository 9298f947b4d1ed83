#include "oci/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace bulkhead::oci {
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

Result<Fd> sealedPlan(std::string_view bytes) {
  Fd file = TRY(sys::memoryFile("bulkhead-plan", MFD_ALLOW_SEALING));
  TRY(sys::writeAll(file.get(), bytes.data(), bytes.size()));
  if (fcntl(file.get(), F_ADD_SEALS, kSeals) < 0) return failure("fcntl F_ADD_SEALS", errno);
  return file;
}

/** A mount of nothing but this file, attached nowhere, that nobody can make writable again. */
Result<Fd> readOnlySelf() {
  Fd self = TRY(sys::openAt(AT_FDCWD, "/proc/self/exe", O_PATH));
  Fd mount = TRY(sys::openTree(self.get(), "", OPEN_TREE_CLONE | AT_EMPTY_PATH));
  TRY(sys::setMountAttributes(mount.get(), "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0));
  return mount;
}

/** Where that is refused: a copy in memory that nobody can change. */
Result<Fd> sealedSelf() {
  Fd self = TRY(sys::openAt(AT_FDCWD, "/proc/self/exe", O_RDONLY));
  const struct stat status = TRY(sys::statusOf(self.get()));
  Fd copy = TRY(sys::memoryFile("bulkhead-oci", MFD_ALLOW_SEALING));
  for (off_t left = status.st_size; left > 0;) {
    const ssize_t sent = sendfile(copy.get(), self.get(), nullptr, static_cast<size_t>(left));
    if (sent <= 0) return failure("sendfile", sent == 0 ? EIO : errno);
    left -= sent;
  }
  if (fcntl(copy.get(), F_ADD_SEALS, kSeals) < 0) return failure("fcntl F_ADD_SEALS", errno);
  // Reopened read-only: executing a file that anybody has open for writing is ETXTBSY.
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", copy.get());
  return sys::openAt(AT_FDCWD, path, O_RDONLY);
}

}  // namespace

Init::~Init() {
  report_.reset();
  reap();
}

Status Init::start(const InitOptions& options) {
  Fd plan = TRY(sealedPlan(options.plan));
  Result<Fd> self = readOnlySelf();
  if (!self.ok()) self = sealedSelf();
  if (!self.ok()) return self.error();
  sys::Pair pair = TRY(sys::socketPair(SOCK_SEQPACKET));

  // Sources above every target, so that no copy overwrites another's source.
  const int firstFree = init::kPreservedFd + options.preservedFds;
  std::vector<Fd> copies;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const auto pass = [&](int source, int target) -> Status {
    copies.push_back(TRY(sys::duplicate(source, firstFree)));
    posix_spawn_file_actions_adddup2(&actions, copies.back().get(), target);
    return Done{};
  };
  Status passed = pass(plan.get(), init::kPlanFd);
  if (passed.ok()) passed = pass(pair.right.get(), init::kReportFd);
  if (passed.ok() && options.gate >= 0) passed = pass(options.gate, init::kGateFd);
  for (int index = 0; index < options.preservedFds && passed.ok(); ++index) {
    passed = pass(3 + index, init::kPreservedFd + index);
  }
  Result<Fd> program = sys::duplicate(self.value().get(), firstFree);
  if (passed.ok() && !program.ok()) passed = program.error();
  if (!passed.ok()) {
    posix_spawn_file_actions_destroy(&actions);
    return passed;
  }
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", program.value().get());
  char name[] = "bulkhead-init";
  char exact[] = "exact";
  char* arguments[] = {name, const_cast<char*>(options.mode), exact, nullptr};
  char* environment[] = {nullptr};
  pid_t pid = 0;
  const int err = posix_spawn(&pid, path, &actions, &attributes, arguments, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (err != 0) return failure("posix_spawn", err, "bulkhead-init");
  process_ = TRY(sys::openPid(pid));
  report_ = std::move(pair.left);
  return Done{};
}

Result<init::Report> Init::next(Fd* passed) {
  init::Report report = {};
  int fd = -1;
  const sys::Received received = TRY(sys::receiveMessage(report_.get(), &report, sizeof report, &fd, 1));
  *passed = Fd(received.fdCount == 1 ? fd : -1);
  if (received.size < init::kReportBytes) return failure("recvmsg", ECONNRESET, "bulkhead-init");
  return report;
}

Status Init::proceed(int state) {
  return sys::sendMessage(report_.get(), "g", 1, &state, 1);
}

void Init::reap() {
  if (process_.valid()) (void)sys::reap(process_.get(), true).ok();
  process_.reset();
}

int programStatus(const init::Report& failed) {
  if (strcmp(failed.op, "execve") != 0) return 0;
  return failed.err == ENOENT || failed.err == ENOTDIR ? 127 : 126;
}

std::string describe(const init::Report& failed) {
  const std::string path = failed.path;
  if (strcmp(failed.op, "execve") == 0) {
    const bool searched = path.find('/') == std::string::npos;
    std::string reason = strerror(failed.err);
    // Engines look for these words, which are Go's.
    if (failed.err == ENOENT) reason = searched ? "executable file not found in $PATH" : "no such file or directory";
    if (failed.err == EACCES) reason = "permission denied";
    return "exec: \"" + path + "\": " + reason;
  }
  std::string text = std::string(failed.step) + ": " + failed.op;
  if (!path.empty()) text += " " + path;
  return text + ": " + strerror(failed.err);
}

}  // namespace bulkhead::oci
