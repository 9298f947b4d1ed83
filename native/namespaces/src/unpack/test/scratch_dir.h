#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <cstring>
#include <string>

#include "layer.h"
#include "tree.h"

namespace bulkhead::unpack {

class StringSource final : public Source {
 public:
  explicit StringSource(std::string bytes) : bytes_(std::move(bytes)) {}
  ssize_t read(void* data, std::size_t size) override {
    size = std::min(size, bytes_.size() - at_);
    std::memcpy(data, bytes_.data() + at_, size);
    at_ += size;
    return static_cast<ssize_t>(size);
  }

 private:
  std::string bytes_;
  std::size_t at_ = 0;
};

class LocalMarker final : public OpaqueMarker {
 public:
  Status mark(const Fd& directory) override {
    const bool done = ::fsetxattr(directory.get(), "trusted.overlay.opaque", "y", 1, 0) == 0;
    return done ? Status{} : host_failure("fsetxattr");
  }
};

// `<base>/root` is the layer's directory and `<base>/outside` holds a file that nothing may touch.
class ScratchDir {
 public:
  explicit ScratchDir(const char* parent) {
    base_ = std::string(parent) + "/bhunpack.XXXXXX";
    if (::mkdtemp(base_.data()) == nullptr) std::abort();
    make("root");
    make("outside");
    const Fd secret(::open((base_ + "/outside/secret").c_str(), O_WRONLY | O_CREAT, 0600));
    if (!write_at(secret, "untouched", 9, 0)) std::abort();
  }
  ~ScratchDir() {
    const Fd base(::open(base_.c_str(), O_RDONLY | O_DIRECTORY));
    if (!empty_directory(base).ok()) std::abort();
    ::rmdir(base_.c_str());
  }

  Status apply(const std::string& tar, Limits limits = {}) {
    LocalMarker marker;
    Tree tree(root(), marker, limits.max_entries);
    Layer layer(tree, limits);
    StringSource source(tar);
    Status done = layer.apply(source);
    totals = layer.totals();
    return done;
  }

  Fd root() const { return Fd(::open((base_ + "/root").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }
  std::string outside() const { return base_ + "/outside"; }
  std::string path(const std::string& name) const { return base_ + "/root/" + name; }

  struct stat info(const std::string& name) const {
    struct stat out {};
    if (::lstat(path(name).c_str(), &out) != 0) out.st_mode = 0;
    return out;
  }
  bool exists(const std::string& name) const { return info(name).st_mode != 0; }
  bool opaque(const std::string& name) const {
    char value = 0;
    return ::getxattr(path(name).c_str(), "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
  }
  std::string read(const std::string& name) const { return slurp(path(name)); }
  std::string secret() const { return slurp(outside() + "/secret"); }
  std::string link(const std::string& name) const {
    char target[PATH_MAX];
    const ssize_t size = ::readlink(path(name).c_str(), target, sizeof target);
    return size < 0 ? std::string() : std::string(target, static_cast<std::size_t>(size));
  }

  Totals totals;

 private:
  void make(const char* name) {
    if (::mkdir((base_ + '/' + name).c_str(), 0755) != 0) std::abort();
  }
  static std::string slurp(const std::string& path) {
    const Fd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW));
    std::string out;
    char block[4096];
    for (ssize_t size = 0; file.valid() && (size = ::read(file.get(), block, sizeof block)) > 0;) {
      out.append(block, static_cast<std::size_t>(size));
    }
    return out;
  }
  std::string base_;
};

}  // namespace bulkhead::unpack
