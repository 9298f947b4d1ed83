// One function for each type of entry.
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>

#include "attributes.h"
#include "layer.h"
#include "name.h"

namespace bulkhead::unpack {

Status Layer::root_entry(archive_entry* entry) {
  if (archive_entry_filetype(entry) != AE_IFDIR) return layer_failure("conflict", "the root is not a directory");
  Result<unsigned> skipped = apply_attributes(entry, tree_.root());
  if (!skipped.ok()) return std::move(skipped.failure());
  totals_.skipped_xattrs += skipped.value();
  return remember_time("", entry);
}

Status Layer::regular_file(archive* reader, archive_entry* entry, const Fd& dir, const std::string& leaf) {
  // 0600 until the owner is right.
  Fd file = open_leaf(dir, leaf.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (!file.valid() && errno == EEXIST) {
    if (Status cleared = tree_.clear(dir, leaf); !cleared.ok()) return cleared;
    file = open_leaf(dir, leaf.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
  }
  if (!file.valid()) return host_failure("openat");
  if (Status copied = copy_data(reader, entry, file); !copied.ok()) return copied;
  Result<unsigned> skipped = apply_attributes(entry, file);
  if (!skipped.ok()) return std::move(skipped.failure());
  totals_.skipped_xattrs += skipped.value();
  return apply_time(file, modified_time(entry));
}

Status Layer::copy_data(archive* reader, archive_entry* entry, const Fd& file) {
  const std::int64_t size = archive_entry_size(entry);
  if (size < 0) return layer_failure("malformed", "the size is negative");
  std::int64_t end = 0;
  for (;;) {
    const void* data = nullptr;
    std::size_t length = 0;
    la_int64_t offset = 0;
    const int state = archive_read_data_block(reader, &data, &length, &offset);
    if (state == ARCHIVE_EOF) break;
    if (state != ARCHIVE_OK) {
      const char* said = archive_error_string(reader);
      return layer_failure("malformed", said == nullptr ? "the data cannot be read" : said);
    }
    totals_.bytes += length;
    if (totals_.bytes > limits_.max_bytes) return layer_failure("tooLarge", "the layer has too much data");
    if (!write_at(file, data, length, offset)) return host_failure("pwrite");
    end = offset + static_cast<std::int64_t>(length);
  }
  // A sparse file may end in a hole.
  if (end == size || ::ftruncate(file.get(), size) == 0) return {};
  return errno == EFBIG || errno == EINVAL ? layer_failure("tooLarge", "the file is larger than the disk can name")
                                           : host_failure("ftruncate");
}

Status Layer::directory_entry(archive_entry* entry, const std::string& path, const Fd& dir, const std::string& leaf) {
  if (Status made = tree_.make_directory(dir, leaf); !made.ok()) return made;
  const Fd opened = open_leaf(dir, leaf.c_str(), O_RDONLY | O_DIRECTORY);
  if (!opened.valid()) return host_failure("openat");
  Result<unsigned> skipped = apply_attributes(entry, opened);
  if (!skipped.ok()) return std::move(skipped.failure());
  totals_.skipped_xattrs += skipped.value();
  return remember_time(path, entry);
}

Status Layer::symbolic_link(archive_entry* entry, const Fd& dir, const std::string& leaf) {
  const char* target = archive_entry_symlink(entry);
  if (target == nullptr || *target == '\0') return layer_failure("malformed", "the symbolic link has no target");
  // The target is only text here; it is resolved inside the container's own root.
  if (::symlinkat(target, dir.get(), leaf.c_str()) != 0) {
    if (errno == ENAMETOOLONG) return layer_failure("malformed", "the symbolic link's target is too long");
    if (errno != EEXIST) return host_failure("symlinkat");
    if (Status cleared = tree_.clear(dir, leaf); !cleared.ok()) return cleared;
    if (::symlinkat(target, dir.get(), leaf.c_str()) != 0) return host_failure("symlinkat");
  }
  if (Status owned = apply_owner(entry, dir, leaf); !owned.ok()) return owned;
  return apply_time(dir, leaf, modified_time(entry));
}

Status Layer::special(archive_entry* entry, const Fd& dir, const std::string& leaf) {
  if (Status cleared = tree_.clear(dir, leaf); !cleared.ok()) return cleared;
  const mode_t type = archive_entry_filetype(entry) == AE_IFIFO ? S_IFIFO : S_IFSOCK;
  if (::mknodat(dir.get(), leaf.c_str(), type | 0600, 0) != 0) return host_failure("mknodat");
  if (Status owned = apply_owner(entry, dir, leaf); !owned.ok()) return owned;
  // The node was made a moment ago by this process, which alone writes here: the name cannot be a link.
  if (::fchmodat(dir.get(), leaf.c_str(), archive_entry_perm(entry) & 07777, 0) != 0) return host_failure("fchmodat");
  return apply_time(dir, leaf, modified_time(entry));
}

Status Layer::hard_link(archive_entry* entry, const Fd& dir, const std::string& leaf) {
  const char* raw = archive_entry_hardlink(entry);
  Result<EntryName> parsed = parse_name(raw);
  if (!parsed.ok()) return std::move(parsed.failure());
  const EntryName& target = parsed.value();
  if (target.kind != NameKind::kEntry || target.leaf.empty()) {
    return layer_failure("link", "the hard link's target is not a file");
  }
  const Fd source =
      open_in_root(tree_.root(), target.parent.empty() ? "." : target.parent.c_str(), O_RDONLY | O_DIRECTORY);
  struct stat wanted {};
  if (!source.valid() || !stat_leaf(source, target.leaf.c_str(), wanted)) {
    return layer_failure("link", "the hard link's target is not in the layer");
  }
  if (S_ISDIR(wanted.st_mode) || S_ISCHR(wanted.st_mode)) {
    return layer_failure("link", "the hard link's target is not a file");
  }
  struct stat present {};
  if (stat_leaf(dir, leaf.c_str(), present)) {
    if (present.st_dev == wanted.st_dev && present.st_ino == wanted.st_ino) return {};
    if (Status cleared = tree_.clear(dir, leaf); !cleared.ok()) return cleared;
  }
  // Without AT_SYMLINK_FOLLOW a link to a symbolic link is a second name of the link itself.
  if (::linkat(source.get(), target.leaf.c_str(), dir.get(), leaf.c_str(), 0) == 0) return {};
  if (errno == ENOENT) return layer_failure("link", "the hard link replaces a directory that holds its target");
  if (errno == EMLINK) return layer_failure("link", "the file has too many hard links");
  return host_failure("linkat");
}

}  // namespace bulkhead::unpack
