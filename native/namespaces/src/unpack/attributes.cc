#include "attributes.h"

#include <archive_entry.h>
#include <fcntl.h>
#include <sys/xattr.h>

#include <limits>
#include <string_view>

namespace bulkhead::unpack {
namespace {

constexpr std::int64_t kMaxId = std::numeric_limits<uid_t>::max() - 1;  // the last value means "unchanged"

Status check_owner(archive_entry* entry) {
  const std::int64_t uid = archive_entry_uid(entry);
  const std::int64_t gid = archive_entry_gid(entry);
  if (uid < 0 || gid < 0 || uid > kMaxId || gid > kMaxId)
    return layer_failure("malformed", "the owner is out of range");
  return {};
}

bool is_kept(std::string_view name) {
  // overlayfs reads user.overlay.* on mounts with userxattr: a layer must not be able to redirect lookups.
  if (name.starts_with("user.")) return !name.starts_with("user.overlay.");
  return name == "security.capability";
}

}  // namespace

Result<unsigned> apply_attributes(archive_entry* entry, const Fd& file) {
  if (Status checked = check_owner(entry); !checked.ok()) return std::move(checked.failure());
  if (::fchown(file.get(), static_cast<uid_t>(archive_entry_uid(entry)),
               static_cast<gid_t>(archive_entry_gid(entry))) != 0) {
    return host_failure("fchown");
  }
  if (::fchmod(file.get(), archive_entry_perm(entry) & 07777) != 0) return host_failure("fchmod");
  unsigned skipped = 0;
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  archive_entry_xattr_reset(entry);
  while (archive_entry_xattr_next(entry, &name, &value, &size) == 0) {
    if (name == nullptr || !is_kept(name)) {
      ++skipped;
    } else if (::fsetxattr(file.get(), name, value, size, 0) != 0) {
      // A file system without user attributes is no reason to refuse; a lost file capability breaks the program.
      if (errno == EOPNOTSUPP && std::string_view(name).starts_with("user.")) {
        ++skipped;
      } else if (errno == EINVAL || errno == ERANGE || errno == E2BIG) {
        return layer_failure("malformed", "an extended attribute is not valid");
      } else {
        return host_failure("fsetxattr");
      }
    }
  }
  return skipped;
}

Status apply_owner(archive_entry* entry, const Fd& dir, const std::string& leaf) {
  if (Status checked = check_owner(entry); !checked.ok()) return checked;
  const int done = ::fchownat(dir.get(), leaf.c_str(), static_cast<uid_t>(archive_entry_uid(entry)),
                              static_cast<gid_t>(archive_entry_gid(entry)), AT_SYMLINK_NOFOLLOW);
  return done == 0 ? Status{} : host_failure("fchownat");
}

timespec modified_time(archive_entry* entry) {
  if (!archive_entry_mtime_is_set(entry)) return {0, UTIME_OMIT};
  const long nanoseconds = archive_entry_mtime_nsec(entry);
  return {archive_entry_mtime(entry), nanoseconds >= 0 && nanoseconds < 1'000'000'000 ? nanoseconds : 0};
}

Status apply_time(const Fd& file, const timespec& modified) {
  const timespec both[2] = {modified, modified};
  return ::futimens(file.get(), both) == 0 ? Status{} : host_failure("futimens");
}

Status apply_time(const Fd& dir, const std::string& leaf, const timespec& modified) {
  const timespec both[2] = {modified, modified};
  return ::utimensat(dir.get(), leaf.c_str(), both, AT_SYMLINK_NOFOLLOW) == 0 ? Status{} : host_failure("utimensat");
}

}  // namespace bulkhead::unpack
