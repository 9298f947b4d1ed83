#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "outcome.h"
#include "tree.h"

struct archive;
struct archive_entry;

namespace bulkhead::unpack {

struct Limits {
  std::uint64_t max_bytes = 64ULL << 30;
  std::uint64_t max_entries = 2'000'000;
};

struct Totals {
  std::uint64_t entries = 0;  // made, implied directories included
  std::uint64_t bytes = 0;    // of file data written; holes are not data
  std::uint64_t skipped_devices = 0;
  std::uint64_t skipped_xattrs = 0;
  bool opaque_root = false;  // the layer hides everything below it
};

// Reads up to `size` bytes of the tar stream; 0 at the end, negative with errno set.
class Source {
 public:
  virtual ~Source() = default;
  virtual ssize_t read(void* data, std::size_t size) = 0;
};

// Applies one uncompressed tar stream to a tree under the OCI image layer rules.
class Layer {
 public:
  Layer(Tree& tree, const Limits& limits) : tree_(tree), limits_(limits) {}

  // Reads to the very end, bytes after the archive's end mark included, so that the writer sees no broken pipe.
  Status apply(Source& source);
  const Totals& totals() const { return totals_; }

 private:
  struct DirectoryTime {
    std::string path;
    timespec modified;
  };

  Status entry(archive* reader, archive_entry* entry);
  Status create(archive* reader, archive_entry* entry, const std::string& path, const Fd& dir, const std::string& leaf);
  Status root_entry(archive_entry* entry);
  Status regular_file(archive* reader, archive_entry* entry, const Fd& dir, const std::string& leaf);
  Status directory_entry(archive_entry* entry, const std::string& path, const Fd& dir, const std::string& leaf);
  Status hard_link(archive_entry* entry, const Fd& dir, const std::string& leaf);
  Status symbolic_link(archive_entry* entry, const Fd& dir, const std::string& leaf);
  Status special(archive_entry* entry, const Fd& dir, const std::string& leaf);
  Status hide(const Fd& dir, const std::string& leaf);
  Status copy_data(archive* reader, archive_entry* entry, const Fd& file);
  Status remember_time(const std::string& path, archive_entry* entry);
  Status finish();

  Tree& tree_;
  Limits limits_;
  Totals totals_;
  std::vector<DirectoryTime> times_;
  std::uint64_t time_bytes_ = 0;
};

}  // namespace bulkhead::unpack
