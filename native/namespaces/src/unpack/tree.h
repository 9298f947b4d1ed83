#pragma once

#include <cstdint>
#include <string>

#include "outcome.h"
#include "sys.h"

namespace bulkhead::unpack {

// Marks a directory as opaque for overlayfs. A port, because the process that parses must not hold CAP_SYS_ADMIN.
class OpaqueMarker {
 public:
  virtual ~OpaqueMarker() = default;
  virtual Status mark(const Fd& directory) = 0;
};

// The directory a layer is applied to. Nothing it does can leave that directory.
class Tree {
 public:
  Tree(Fd root, OpaqueMarker& marker, std::uint64_t max_entries)
      : root_(std::move(root)), marker_(marker), max_entries_(max_entries) {}

  const Fd& root() const { return root_; }
  std::uint64_t entries() const { return entries_; }

  // Counts one thing made; directories that an entry only implies count too.
  Status count_entry();

  // The directory at `path` ("" is the root) as a readable descriptor, made with its parents (0755) where missing.
  // The descriptor belongs to the tree and is good until the next call.
  Result<const Fd*> directory(const std::string& path);

  // Removes whatever has this name; a missing name is fine.
  Status clear(const Fd& dir, const std::string& leaf);

  // Makes a directory or keeps the one that is there. A whiteout in its place makes it opaque, because it hid what
  // the layers below have there.
  Status make_directory(const Fd& dir, const std::string& leaf);

  Status mark_opaque(const Fd& dir, const std::string& leaf);
  Status mark_opaque(const Fd& directory) { return marker_.mark(directory); }

 private:
  Result<Fd> make_path(const std::string& path);

  Fd root_;
  OpaqueMarker& marker_;
  std::uint64_t max_entries_;
  std::uint64_t entries_ = 0;
  // Archives list a directory's entries one after another: the last one is kept open. It is only marked as stale when
  // what its path passes through goes, because a caller may still work in it.
  std::string last_path_;
  Fd last_;
  bool last_fresh_ = false;
};

// True for the character device 0:0 by which overlayfs knows a whiteout.
bool is_whiteout(const struct stat& info);

// Removes everything in a directory whatever its depth, with a fixed number of descriptors: subdirectories are moved
// up before they are emptied, so no path grows beyond what the kernel takes.
Status empty_directory(const Fd& dir);

}  // namespace bulkhead::unpack
