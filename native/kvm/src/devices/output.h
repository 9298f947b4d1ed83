// Bytes from a guest to a descriptor of the host, which a guest must not be able to block.
#pragma once

#include <cstdint>

#include "sys/fd.h"

namespace bulkhead::vm {

/** Writes what the descriptor takes now. What it does not take is gone and counted: a stuck reader stops no guest. */
class Output {
 public:
  explicit Output(Fd to) : to_(std::move(to)) {}

  void write(const uint8_t* data, size_t size);
  /** For what a guest sent that is not even tried. */
  void drop(size_t size) { droppedBytes_ += size; }
  /** Bytes that were not taken, ever. */
  uint64_t droppedBytes() const { return droppedBytes_; }

 private:
  Fd to_;
  uint64_t droppedBytes_ = 0;
};

}  // namespace bulkhead::vm
