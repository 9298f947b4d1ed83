// What the threads of a machine's process are for.
#pragma once

namespace bulkhead::vm {

/**
 * `processor`: runs the guest, and answers what it asks of devices; `loop`: moves data; `loader`: brings what images
 * have left, and then ends.
 */
enum class ThreadKind { processor, loop, loader };

/** What a machine does with sockets while it runs. */
struct Sockets {
  /** Carries streams that others began. */
  bool streams = false;
  /** Tells another process of descriptors. */
  bool descriptors = false;
  /** Begins streams itself, at a Unix socket by its name. */
  bool connects = false;
};

}  // namespace bulkhead::vm
