// The guest's RAM as a file: as it lies, with holes where it is zero, and behind it the snapshot that it belongs to.
#pragma once

#include <array>

#include "memory/guest_memory.h"
#include "snapshot/frame_sender.h"

namespace bulkhead::vm {

using SnapshotId = std::array<uint8_t, 16>;

/** While nobody writes to it. */
Status saveMemory(const GuestMemory& memory, const SnapshotId& id, const FrameSender& to);

/**
 * The RAM that a snapshot was taken of: read as the guest touches it, or, where that is wished, at once into memory of
 * its own.
 * @returns EBADMSG for a file that is not this snapshot's
 */
Result<GuestMemory> openMemory(const Fd& file, const SnapshotId& id, const MemoryOptions& options);

}  // namespace bulkhead::vm
