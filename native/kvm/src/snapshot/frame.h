// A snapshot on its way out of a monitor: frames in a pipe, of which whoever reads them believes nothing.
//
//   memory | memory | ... | the page behind the memory | state
//
// Each is a head and so many bytes. What lies between two frames of memory is zero and becomes a hole.
#pragma once

#include <cstdint>

namespace bulkhead::vm {

enum class FrameKind : uint32_t { memory = 1, state = 2 };

struct FrameHead {
  FrameKind kind;
  /** Of a frame of memory whole pages, at most kMaxFrameBytes; of the state all of it, at most kMaxStateBytes. */
  uint32_t sizeBytes;
  /** In the memory file, at or behind the end of the frame before; of the state 0. */
  uint64_t offset;
};
static_assert(sizeof(FrameHead) == 16);

inline constexpr uint64_t kFramePage = 4096;
inline constexpr uint32_t kMaxFrameBytes = 1024 * 1024;
/** Either side waits for the other so long, and then goes on without. A host's disk may take its time. */
inline constexpr int kFramePatienceMs = 60'000;

}  // namespace bulkhead::vm
