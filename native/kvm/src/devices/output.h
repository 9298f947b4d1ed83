// Bytes from a guest to a descriptor of the host, which a guest must not be able to block.
#pragma once

#include <cstdint>

#include "sys/fd.h"

namespace bulkhead::vm {

/** A stuck reader stops no guest: what the descriptor does not take now is gone and counted, or waits with the caller.
 */
class Output {
 public:
  /**
   * Before the jail. A pipe or a terminal is opened once more, so that it does not wait and nobody else notices; what
   * cannot be is told so itself. A file takes what it is given.
   */
  explicit Output(Fd to);

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
  long writeOnce(const uint8_t* data, size_t size) const;

  Fd to_;
  bool isSocket_ = false;
  uint64_t droppedBytes_ = 0;
};

}  // namespace bulkhead::vm
