#include "init/maps.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "sys/file.h"
#include "sys/syscalls.h"

namespace bulkhead::init {

Status writeMap(pid_t pid, const char* file, const Span<plan::IdMap>& maps) {
  if (maps.empty()) return Done{};
  char path[48];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
  // The kernel takes at most a page, in one write.
  char text[4096];
  size_t used = 0;
  for (const plan::IdMap& map : maps) {
    used += static_cast<size_t>(
        snprintf(text + used, sizeof text - used, "%u %u %u\n", map.inside, map.outside, map.count));
    if (used >= sizeof text) return failure("write", E2BIG, file);
  }
  return sys::writeFile(AT_FDCWD, path, {text, used});
}

Result<Fd> makeUserNamespace(const Span<plan::IdMap>& uids, const Span<plan::IdMap>& gids) {
  sys::Cloned holder = TRY(sys::cloneProcess(CLONE_NEWUSER, -1));
  if (holder.pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  const auto open = [&]() -> Result<Fd> {
    TRY(writeMap(holder.pid, "uid_map", uids));
    TRY(writeMap(holder.pid, "gid_map", gids));
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/ns/user", holder.pid);
    return sys::openAt(AT_FDCWD, path, O_RDONLY);
  };
  Result<Fd> opened = open();
  (void)sys::signalPid(holder.pidfd.get(), SIGKILL).ok();
  (void)sys::reap(holder.pidfd.get(), true).ok();
  return opened;
}

}  // namespace bulkhead::init
