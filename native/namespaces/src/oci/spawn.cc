#include "oci/spawn.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "sys/sealed.h"
#include "sys/spawn.h"

namespace bulkhead::oci {
namespace {

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
  return sys::sealedProgram("bulkhead-oci", self.get());
}

}  // namespace

Init::~Init() {
  report_.reset();
  reap();
}

Status Init::start(const InitOptions& options) {
  Fd plan = TRY(sys::sealedBytes("bulkhead-plan", options.plan));
  Result<Fd> self = readOnlySelf();
  if (!self.ok()) self = sealedSelf();
  if (!self.ok()) return self.error();
  sys::Pair pair = TRY(sys::socketPair(SOCK_SEQPACKET));

  sys::Spawn spawn(init::kPreservedFd + options.preservedFds);
  TRY(spawn.pass(plan.get(), init::kPlanFd));
  TRY(spawn.pass(pair.right.get(), init::kReportFd));
  if (options.gate >= 0) TRY(spawn.pass(options.gate, init::kGateFd));
  for (int index = 0; index < options.preservedFds; ++index) {
    TRY(spawn.pass(3 + index, init::kPreservedFd + index));
  }
  char name[] = "bulkhead-init";
  char exact[] = "exact";
  char* arguments[] = {name, const_cast<char*>(options.mode), exact, nullptr};
  process_ = TRY(spawn.run(self.value().get(), arguments));
  report_ = std::move(pair.left);
  return Done{};
}

Result<init::Report> Init::next(Fd* passed) {
  init::Report report = {};
  int fd = -1;
  const sys::Received received = TRY(sys::receiveMessage(report_.get(), &report, sizeof report, &fd, 1));
  *passed = Fd(received.fdCount == 1 ? fd : -1);
  if (received.size < init::kReportBytes) return failure("recvmsg", ECONNRESET, "bulkhead-init");
  TRY(init::checkReport(&report, received.size));
  return report;
}

Status Init::proceed(int state) {
  return sys::sendMessage(report_.get(), "g", 1, &state, 1);
}

Status Init::proceed() {
  return sys::sendMessage(report_.get(), "g", 1);
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
