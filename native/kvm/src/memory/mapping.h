// Ownership of one mapping that is shared with the kernel.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <utility>

#include "sys/result.h"

namespace bulkhead::vm {

class Mapping {
 public:
  /** `what` names it in an error. */
  static Result<Mapping> create(int fd, size_t sizeBytes, off_t offset, const char* what) {
    void* at = mmap(nullptr, sizeBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);
    if (at == MAP_FAILED) return failure("mmap", errno, what);
    return Mapping(at, sizeBytes);
  }
  Mapping(Mapping&& other) noexcept : at_(std::exchange(other.at_, nullptr)), sizeBytes_(other.sizeBytes_) {}
  Mapping& operator=(Mapping&&) = delete;
  ~Mapping() {
    if (at_ != nullptr) munmap(at_, sizeBytes_);
  }

  template <class T>
  T* at(size_t offset) const {
    return reinterpret_cast<T*>(static_cast<char*>(at_) + offset);
  }
  size_t sizeBytes() const { return sizeBytes_; }

 private:
  Mapping(void* at, size_t sizeBytes) : at_(at), sizeBytes_(sizeBytes) {}

  void* at_;
  size_t sizeBytes_;
};

}  // namespace bulkhead::vm
