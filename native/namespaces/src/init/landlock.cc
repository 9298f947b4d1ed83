#include "init/landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::init {
namespace {

// include/uapi/linux/landlock.h: with Linux 5.19 (ABI 2) and 6.2 (ABI 3)
constexpr uint64_t kRefer = 1ull << 13;
constexpr uint64_t kTruncate = 1ull << 14;

constexpr uint64_t kWriteFile = LANDLOCK_ACCESS_FS_WRITE_FILE;
constexpr uint64_t kChangeDirectory =
    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
    LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;

constexpr long kTruncateAbi = 3;

Status allow(int rules, const char* path, uint64_t rights) {
  Fd place = TRY(sys::openAt2(AT_FDCWD, path, O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS));
  const struct stat status = TRY(sys::statusOf(place.get()));
  struct landlock_path_beneath_attr beneath = {};
  // The kernel refuses rights of directories for anything else.
  beneath.allowed_access = S_ISDIR(status.st_mode) ? rights : rights & (kWriteFile | kTruncate);
  beneath.parent_fd = place.get();
  if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) < 0) {
    return failure("landlock_add_rule", errno, path);
  }
  return Done{};
}

/** For what an image need not have. */
Status allowIfThere(int rules, const char* path, uint64_t rights) {
  Status allowed = allow(rules, path, rights);
  return !allowed.ok() && allowed.error().err == ENOENT ? Status(Done{}) : allowed;
}

}  // namespace

Status confineWrites(const plan::Process& process) {
  if ((process.flags & plan::kProcessConfined) == 0) return Done{};
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 0) return failure("landlock_create_ruleset", errno);
  if (abi < kernel::kLeastLandlockAbi) return failure("landlock_create_ruleset", EOPNOTSUPP);
  const uint64_t truncate = abi >= kTruncateAbi ? kTruncate : 0;
  const uint64_t all = kWriteFile | kChangeDirectory | kRefer | truncate;
  struct landlock_ruleset_attr attributes = {};
  attributes.handled_access_fs = all;
  Fd rules = TRY(sys::opened("landlock_create_ruleset",
                             [&] { return syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0); }));
  for (const Str& path : process.writablePaths) TRY(allow(rules.get(), path.c_str(), all));
  TRY(allowIfThere(rules.get(), "/dev", all));
  TRY(allowIfThere(rules.get(), "/proc", kWriteFile | truncate));
  return sys::check("landlock_restrict_self", [&] { return syscall(SYS_landlock_restrict_self, rules.get(), 0); });
}

}  // namespace bulkhead::init
