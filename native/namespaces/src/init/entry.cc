#include "init/entry.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>
#include <string_view>

#include "init/container.h"
#include "init/report.h"
#include "init/server.h"
#include "plan/codec.h"
#include "sys/syscalls.h"

namespace bulkhead::init {

MappedPlan::MappedPlan(int file) {
  struct stat status;
  if (fstat(file, &status) < 0 || status.st_size <= 0 || status.st_size > static_cast<off_t>(plan::kMaxPlanBytes)) {
    return;
  }
  // Without these seals the sender could change the plan after it was checked.
  const int seals = fcntl(file, F_GET_SEALS);
  constexpr int kWanted = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
  if (seals < 0 || (seals & kWanted) != kWanted) return;
  const size_t size = static_cast<size_t>(status.st_size);
  void* bytes = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  if (bytes != MAP_FAILED) bytes_ = {static_cast<const char*>(bytes), size};
}

MappedPlan::~MappedPlan() {
  if (!bytes_.empty()) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

Status HandedFds::take(const int* fds, size_t count) {
  for (size_t index = 0; index < count; ++index) fds_[index] = Fd(fds[index]);
  for (size_t index = 0; index < count; ++index) {
    const int target = kPreservedFd + static_cast<int>(index);
    const int placed = dup3(fds_[index].get(), target, O_CLOEXEC);
    if (placed < 0) return failure("dup3", errno);
    fds_[index] = Fd(placed);
  }
  count_ = count;
  return Done{};
}

Fd receivePlan(int socket, HandedFds* handed) {
  char byte;
  int fds[1 + plan::kMaxHandedFds];
  const size_t most = handed == nullptr ? 1 : std::size(fds);
  Result<sys::Received> received = sys::receiveMessage(socket, &byte, 1, fds, most);
  if (!received.ok() || received.value().fdCount == 0) return Fd();
  Fd file(fds[0]);
  if (handed != nullptr && !handed->take(fds + 1, received.value().fdCount - 1).ok()) return Fd();
  return file;
}

namespace {

/**
 * The first process of namespaces that containers share. It keeps them while members come and go, takes in the orphans
 * of a pid namespace, and does nothing else: the members may see it, so there is nothing in it to be had.
 */
[[noreturn]] void hold() {
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  close_range(0, ~0u, 0);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  // Ignored, so that the kernel reaps (sigaction(2), POSIX.1-2001).
  signal(SIGCHLD, SIG_IGN);
  for (;;) pause();
}

}  // namespace

int runInit(int argc, char** argv) {
  const bool exec = argc >= 2 && strcmp(argv[1], "exec") == 0;
  const bool container = argc >= 2 && strcmp(argv[1], "container") == 0;
  const bool server = argc == 2 && strcmp(argv[1], "serve") == 0;
  if (argc == 2 && strcmp(argv[1], "hold") == 0) hold();
  if (!exec && !container && !server) {
    constexpr std::string_view kText = "bulkhead-init is started by the Bulkhead agent, not by hand\n";
    (void)write(STDERR_FILENO, kText.data(), kText.size());
    return 2;
  }
  const bool based = container && argc == 3 && strcmp(argv[2], "based") == 0;
  // The OCI command line says "exact": it passes nothing that is not meant, and more than the agent does.
  if (argc == 2 || based) close_range((server ? kBellFd : exec ? kRelayFd : kReportFd) + 1, ~0u, 0);
  fcntl(server ? kServerFd : kReportFd, F_SETFD, FD_CLOEXEC);
  if (server) fcntl(kBellFd, F_SETFD, FD_CLOEXEC);
  // The container must not be able to look into the process that joins or makes it (CVE-2016-9962).
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  // Nothing but the end of its child ends a shim: a signal to its session or by mistake stays pending.
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  umask(0);
  // A shim may outlive the directory that its starter stood in.
  (void)chdir("/");
  if (server) return serve(argv[1]);
  Fd file(kPlanFd);
  MappedPlan plan(file.get());
  file.reset();
  return exec ? runExec(std::move(plan))
              : runContainer(std::move(plan), HandedFds(), based ? Base::makeIfAllowed() : Base());
}

}  // namespace bulkhead::init
