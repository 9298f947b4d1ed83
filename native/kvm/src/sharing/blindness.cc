#include "sharing/blindness.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sys/fd.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {
namespace {

/** Rights to what a directory holds, by Landlock's first version; later ones add only `refer` and `truncate`. */
constexpr uint64_t kHandled = (uint64_t{1} << 13) - 1;
/** Those of them that a file itself can have: execute, write, read. */
constexpr uint64_t kOfFiles = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE;

Status allow(int rules, const char* path) {
  const Fd place = TRY(sys::openAt(AT_FDCWD, path, O_PATH | O_NOFOLLOW));
  const auto status = TRY(sys::statusOf(place.get()));
  if (S_ISLNK(status.st_mode)) return Done{};
  struct landlock_path_beneath_attr beneath = {};
  beneath.allowed_access = S_ISDIR(status.st_mode) ? kHandled : kOfFiles;
  beneath.parent_fd = place.get();
  return sys::check(
      "landlock_add_rule",
      [&] { return syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0); }, path);
}

Status allowAllBut(int rules, const char* hidden) {
  DIR* root = opendir("/");
  if (root == nullptr) return failure("opendir", errno, "/");
  Status allowed = Done{};
  for (const struct dirent* entry; allowed.ok() && (entry = readdir(root)) != nullptr;) {
    const char* name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, hidden) == 0) continue;
    char path[sizeof entry->d_name + 1] = "/";
    allowed = allow(rules, strcat(path, name));
  }
  closedir(root);
  return allowed;
}

}  // namespace

Status hideDirectory(const char* hidden) {
  if (syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) < 0) return Done{};
  struct landlock_ruleset_attr attributes = {};
  attributes.handled_access_fs = kHandled;
  const Fd rules = TRY(sys::opened("landlock_create_ruleset", [&] {
    return syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
  }));
  TRY(allowAllBut(rules.get(), hidden));
  TRY(sys::check("prctl PR_SET_NO_NEW_PRIVS", [] { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }));
  return sys::check("landlock_restrict_self", [&] { return syscall(SYS_landlock_restrict_self, rules.get(), 0); });
}

}  // namespace bulkhead::vm
