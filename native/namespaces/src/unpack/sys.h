#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <utility>

#include "outcome.h"

namespace bulkhead::unpack {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int number) : number_(number) {}
  Fd(Fd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.number_, -1));
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(-1); }

  int get() const { return number_; }
  bool valid() const { return number_ >= 0; }

 private:
  void reset(int number) {
    if (number_ >= 0) ::close(number_);
    number_ = number;
  }
  int number_ = -1;
};

// Opens beneath `root` with every symbolic link, absolute ones too, resolved inside it (openat2 RESOLVE_IN_ROOT).
// The number is -1 with errno set on failure: callers branch on ENOENT, ENOTDIR and ELOOP.
Fd open_in_root(const Fd& root, const char* path, std::uint64_t flags);

// Opens one name in a directory, never through a symbolic link.
Fd open_leaf(const Fd& dir, const char* name, int flags, mode_t mode = 0);

// lstat of one name in a directory; false with errno set.
bool stat_leaf(const Fd& dir, const char* name, struct stat& out);

// Writes all bytes at an offset; false with errno set.
bool write_at(const Fd& file, const void* data, std::size_t size, std::int64_t offset);

}  // namespace bulkhead::unpack
