#include "tree.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <climits>
#include <vector>

#include "name.h"

namespace bulkhead::unpack {
namespace {

constexpr int kReadDirectory = O_RDONLY | O_DIRECTORY;
constexpr mode_t kImpliedMode = 0755;
constexpr int kMaxLinks = 40;  // MAXSYMLINKS, include/linux/namei.h

// Pushes the parts of a path so that the first is on top.
void push_parts(std::vector<std::string>& stack, std::string_view path) {
  std::vector<std::string> parts;
  std::size_t start = 0;
  while (start < path.size()) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    if (end > start && path.substr(start, end - start) != ".") parts.emplace_back(path.substr(start, end - start));
    start = end + 1;
  }
  stack.insert(stack.end(), parts.rbegin(), parts.rend());
}

bool same_file(const Fd& one, const Fd& other) {
  struct stat a {};
  struct stat b {};
  return ::fstat(one.get(), &a) == 0 && ::fstat(other.get(), &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

}  // namespace

bool is_whiteout(const struct stat& info) {
  return S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0);
}

Status Tree::count_entry() {
  if (++entries_ > max_entries_) return layer_failure("tooMany", "the layer has too many entries");
  return {};
}

Result<const Fd*> Tree::directory(const std::string& path) {
  if (path.empty()) return &root_;
  if (last_fresh_ && path == last_path_) return &last_;
  Fd found = open_in_root(root_, path.c_str(), kReadDirectory);
  if (!found.valid()) {
    if (errno == ELOOP) return layer_failure("link", "too many symbolic links in the name");
    // fs.protected_symlinks: a link of another owner in a sticky directory.
    if (errno == EACCES) return layer_failure("link", "the kernel refuses to follow a symbolic link in the name");
    // ENOENT: something is missing. ENOTDIR: a file, or a whiteout that this entry turns into a directory.
    if (errno != ENOENT && errno != ENOTDIR) return host_failure("openat2");
    Result<Fd> made = make_path(path);
    if (!made.ok()) return std::move(made.failure());
    found = std::move(made.value());
  }
  last_ = std::move(found);
  last_path_ = path;
  last_fresh_ = true;
  return &last_;
}

// The kernel resolves links but makes no directories, so this walks by name. `..` can only come from a link's target
// and stops at the root, as it does in a chroot.
Result<Fd> Tree::make_path(const std::string& path) {
  std::vector<std::string> ahead;
  push_parts(ahead, path);
  int links = 0;
  Fd at = open_leaf(root_, ".", kReadDirectory);
  while (!ahead.empty()) {
    if (!at.valid()) return host_failure("openat");
    const std::string part = std::move(ahead.back());
    ahead.pop_back();
    if (part == "..") {
      if (!same_file(at, root_)) at = open_leaf(at, "..", kReadDirectory);
      continue;
    }
    if (part.starts_with(".wh.")) return layer_failure("malformed", "a link leads through a whiteout's name");
    struct stat info {};
    if (!stat_leaf(at, part.c_str(), info) && errno != ENOENT) {
      if (errno == ENAMETOOLONG) return layer_failure("malformed", "a link's target is too long");
      return host_failure("fstatat");
    }
    if (S_ISLNK(info.st_mode)) {
      if (++links > kMaxLinks) return layer_failure("link", "too many symbolic links in the name");
      char target[PATH_MAX];
      const ssize_t size = ::readlinkat(at.get(), part.c_str(), target, sizeof target);
      if (size < 0) return host_failure("readlinkat");
      if (size > 0 && target[0] == '/') at = open_leaf(root_, ".", kReadDirectory);
      push_parts(ahead, std::string_view(target, static_cast<std::size_t>(size)));
      continue;
    }
    if (info.st_mode == 0 || is_whiteout(info)) {
      if (Status counted = count_entry(); !counted.ok()) return std::move(counted.failure());
      if (Status made = make_directory(at, part); !made.ok()) return std::move(made.failure());
    } else if (!S_ISDIR(info.st_mode)) {
      return layer_failure("conflict", "a parent of the name is not a directory");
    }
    at = open_leaf(at, part.c_str(), kReadDirectory);
  }
  if (!at.valid()) return host_failure("openat");
  return at;
}

Status Tree::clear(const Fd& dir, const std::string& leaf) {
  struct stat info {};
  if (!stat_leaf(dir, leaf.c_str(), info)) return errno == ENOENT ? Status{} : host_failure("fstatat");
  if (S_ISDIR(info.st_mode) || S_ISLNK(info.st_mode)) last_fresh_ = false;
  if (!S_ISDIR(info.st_mode)) return ::unlinkat(dir.get(), leaf.c_str(), 0) == 0 ? Status{} : host_failure("unlinkat");
  if (::renameat(dir.get(), leaf.c_str(), root_.get(), kTrashName) != 0) return host_failure("renameat");
  {
    const Fd doomed = open_leaf(root_, kTrashName, kReadDirectory);
    if (!doomed.valid()) return host_failure("openat");
    if (Status emptied = empty_directory(doomed); !emptied.ok()) return emptied;
  }
  return ::unlinkat(root_.get(), kTrashName, AT_REMOVEDIR) == 0 ? Status{} : host_failure("rmdir");
}

Status Tree::make_directory(const Fd& dir, const std::string& leaf) {
  if (::mkdirat(dir.get(), leaf.c_str(), kImpliedMode) == 0) return {};
  if (errno != EEXIST) return host_failure("mkdirat");
  struct stat info {};
  if (!stat_leaf(dir, leaf.c_str(), info)) return host_failure("fstatat");
  if (S_ISDIR(info.st_mode)) return {};
  const bool hid_lower = is_whiteout(info);
  if (Status cleared = clear(dir, leaf); !cleared.ok()) return cleared;
  if (::mkdirat(dir.get(), leaf.c_str(), kImpliedMode) != 0) return host_failure("mkdirat");
  return hid_lower ? mark_opaque(dir, leaf) : Status{};
}

Status Tree::mark_opaque(const Fd& dir, const std::string& leaf) {
  Fd made = open_leaf(dir, leaf.c_str(), kReadDirectory);
  if (!made.valid()) return host_failure("openat");
  return marker_.mark(made);
}

}  // namespace bulkhead::unpack
