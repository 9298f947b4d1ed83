#include "cgroup/kernel_threads.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "sys/file.h"
#include "sys/procfs.h"
#include "sys/syscalls.h"

namespace bulkhead::cgroup {
namespace {

constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

/** The hierarchy's root: the only cgroup that has no cgroup.events. */
Result<Fd> rootAbove(std::string directory) {
  while (access((directory + "/cgroup.events").c_str(), F_OK) == 0) {
    const size_t slash = directory.find_last_of('/');
    if (slash == std::string::npos || slash == 0) break;
    directory.resize(slash);
  }
  return sys::openAt(AT_FDCWD, directory.c_str(), kDirectory);
}

}  // namespace

Status expelKernelThreads(const std::string& directory) {
  Fd own = TRY(sys::openAt(AT_FDCWD, directory.c_str(), kDirectory));
  Fd list = TRY(sys::openAt(own.get(), "cgroup.procs", O_RDONLY));
  const std::unique_ptr<FILE, int (*)(FILE*)> lines(fdopen(list.release(), "re"), fclose);
  if (!lines) return failure("fdopen", ENOMEM, directory);
  char line[32];
  while (fgets(line, sizeof line, lines.get()) != nullptr) {
    Result<bool> kernels = sys::isKernelThread(atoi(line));
    if (!kernels.ok() || !kernels.value()) continue;
    Fd root = TRY(rootAbove(directory));
    (void)sys::writeFile(root.get(), "cgroup.procs", line).ok();
  }
  return Done{};
}

}  // namespace bulkhead::cgroup
