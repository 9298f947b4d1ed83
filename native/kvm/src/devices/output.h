// Bytes from a guest to a descriptor of the host, which a guest must not be able to block.
#pragma once

#include <cstdint>

#include "sys/fd.h"

namespace bulkhead::vm {

/** A stuck reader stops no guest: what the descriptor does not take now is gone and counted, or waits with the caller.
 */
class Output {
 public:
  explicit Output(Fd to) : to_(std::move(to)) {}

  /** Writes what is taken now; the rest is gone. */
  void write(const uint8_t* data, size_t size);
  /** Answers how much is taken now: the rest may be offered again. All of it, and gone, when nobody reads any more. */
  size_t offer(const uint8_t* data, size_t size);
  int fd() const { return to_.get(); }
  /** For what a guest sent that is not even tried. */
  void drop(size_t size) { droppedBytes_ += size; }
  /** Bytes that were not taken, ever. */
  uint64_t droppedBytes() const { return droppedBytes_; }

 private:
  Fd to_;
  uint64_t droppedBytes_ = 0;
};

}  // namespace bulkhead::vm
