#include <dirent.h>
#include <fcntl.h>

#include <memory>
#include <string>
#include <vector>

#include "tree.h"

namespace bulkhead::unpack {
namespace {

constexpr std::size_t kBatch = 1024;

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

// Up to kBatch names; fewer means that the directory has no more.
Status list(const Fd& dir, std::vector<std::string>& names) {
  names.clear();
  Fd copy = open_leaf(dir, ".", O_RDONLY | O_DIRECTORY);
  if (!copy.valid()) return host_failure("openat");
  const int number = ::fcntl(copy.get(), F_DUPFD_CLOEXEC, 0);
  if (number < 0) return host_failure("dup");
  const std::unique_ptr<DIR, CloseDir> stream(::fdopendir(number));
  if (!stream) {
    ::close(number);
    return host_failure("fdopendir");
  }
  while (names.size() < kBatch) {
    errno = 0;
    const dirent* found = ::readdir(stream.get());
    if (found == nullptr) return errno == 0 ? Status{} : host_failure("readdir");
    const std::string_view name = found->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return {};
}

// Unlinks what is no directory and moves subdirectories to `top` under a name that nothing there has.
Status level(const Fd& top, const Fd& dir, std::uint64_t& serial) {
  std::vector<std::string> names;
  for (;;) {
    if (Status listed = list(dir, names); !listed.ok()) return listed;
    if (names.empty()) return {};
    for (const std::string& name : names) {
      if (::unlinkat(dir.get(), name.c_str(), 0) == 0) continue;
      if (errno != EISDIR) return host_failure("unlinkat");
      for (;;) {
        const std::string moved = ".wh..wh.gone." + std::to_string(serial++);
        // RENAME_NOREPLACE, because a rename onto an empty directory would succeed and lose count of it.
        if (::renameat2(dir.get(), name.c_str(), top.get(), moved.c_str(), RENAME_NOREPLACE) == 0) break;
        if (errno != EEXIST) return host_failure("renameat2");
      }
    }
  }
}

}  // namespace

Status empty_directory(const Fd& dir) {
  std::vector<std::string> names;
  std::uint64_t serial = 0;
  for (;;) {
    if (Status listed = list(dir, names); !listed.ok()) return listed;
    if (names.empty()) return {};
    for (const std::string& name : names) {
      if (::unlinkat(dir.get(), name.c_str(), 0) == 0) continue;
      if (errno != EISDIR) return host_failure("unlinkat");
      {
        Fd child = open_leaf(dir, name.c_str(), O_RDONLY | O_DIRECTORY);
        if (!child.valid()) return host_failure("openat");
        if (Status done = level(dir, child, serial); !done.ok()) return done;
      }
      if (::unlinkat(dir.get(), name.c_str(), AT_REMOVEDIR) != 0) return host_failure("rmdir");
    }
  }
}

}  // namespace bulkhead::unpack
