#include "init/labels.h"

#include <fcntl.h>
#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "sys/file.h"
#include "sys/syscalls.h"

namespace bulkhead::init {
namespace {

// fs/proc: PROC_ROOT_INO
constexpr ino_t kProcRoot = 1;

/**
 * `/proc/<self>/attr/...` for writing. The image may have put anything there, and another container may be moving it
 * about: only the root of a real procfs and a path that never leaves it will do (CVE-2019-16884, CVE-2025-52881).
 */
Result<Fd> openAttribute(const char* name) {
  Fd proc = TRY(sys::openAt2(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS));
  const struct stat status = TRY(sys::statusOf(proc.get()));
  if (TRY(sys::filesystemType(proc.get())) != kernel::kProcMagic || status.st_ino != kProcRoot) {
    return failure("fstatfs", ENODEV, "/proc");
  }
  char path[64];
  snprintf(path, sizeof path, "%d/attr/%s", getpid(), name);
  return sys::openAt2(proc.get(), path, O_WRONLY, RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
}

}  // namespace

Status setLabels(const plan::Process& process) {
  if (!process.appArmorProfile.empty() && process.appArmorProfile.view() != "unconfined") {
    Result<Fd> file = openAttribute("apparmor/exec");
    if (!file.ok()) {
      const int err = file.error().err == ENOENT ? ENOTSUP : file.error().err;
      return failure("apparmor", err, process.appArmorProfile.view());
    }
    char text[512];
    const int size = snprintf(text, sizeof text, "exec %s", process.appArmorProfile.c_str());
    if (size >= static_cast<int>(sizeof text)) return failure("apparmor", ENAMETOOLONG);
    Status written = sys::writeAll(file.value().get(), text, static_cast<size_t>(size));
    if (!written.ok()) return failure("apparmor", written.error().err, process.appArmorProfile.view());
  }
  if (process.seLinuxLabel.empty()) return Done{};
  Result<Fd> file = openAttribute("exec");
  Status written = file.ok() ? sys::writeAll(file.value().get(), process.seLinuxLabel.data, process.seLinuxLabel.size)
                             : Status(file.error());
  if (written.ok()) return written;
  // The file is there for whichever module is on; none answers EINVAL.
  const int err = written.error().err;
  return failure("selinux", err == ENOENT || err == EINVAL ? ENOTSUP : err, process.seLinuxLabel.view());
}

Status joinKeyring(const plan::Process& process) {
  if ((process.flags & plan::kProcessNewKeyring) == 0) return Done{};
  const char* name = process.keyring.empty() ? nullptr : process.keyring.c_str();
  const long ring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);
  // A kernel without keys has none to give away, and one that forbids the call forbids it to the program too.
  if (ring < 0 && (errno == ENOSYS || errno == EPERM)) return Done{};
  if (ring < 0) return failure("keyctl", errno, process.keyring.view());
  return Done{};
}

}  // namespace bulkhead::init
