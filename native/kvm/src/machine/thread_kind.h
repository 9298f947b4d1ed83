// What the threads of a machine's process are for.
#pragma once

namespace bulkhead::vm {

/**
 * `processor`: runs the guest, and answers what it asks of devices; `loop`: moves data; `loader`: brings what images
 * have left, and then ends.
 */
enum class ThreadKind { processor, loop, loader };

/** What a machine does with sockets while it runs: nothing, carry streams, or tell another process of descriptors, too.
 */
enum class Sockets { none, streams, descriptors };

}  // namespace bulkhead::vm
