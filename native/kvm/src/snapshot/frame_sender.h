// The monitor's end of the pipe through which its snapshot leaves.
#pragma once

#include <string_view>

#include "snapshot/frame.h"
#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::vm {

class FrameSender {
 public:
  /** `pipe`: its writing end, which does not wait (O_NONBLOCK): a machine stands still no longer than for patience. */
  explicit FrameSender(Fd pipe, int patienceMs = kFramePatienceMs) : pipe_(std::move(pipe)), patienceMs_(patienceMs) {}

  /**
   * At most kMaxFrameBytes of the memory file.
   * @returns EPIPE when nobody reads any more, ETIMEDOUT when nobody has for too long
   */
  Status memory(uint64_t offset, std::string_view pages) const { return send(FrameKind::memory, offset, pages); }
  /** Last. */
  Status state(std::string_view bytes) const { return send(FrameKind::state, 0, bytes); }

 private:
  Status send(FrameKind kind, uint64_t offset, std::string_view bytes) const;

  Fd pipe_;
  int patienceMs_;
};

}  // namespace bulkhead::vm
