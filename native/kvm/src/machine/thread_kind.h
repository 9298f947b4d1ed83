// What the threads of a machine's process are for.
#pragma once

namespace bulkhead::vm {

/** `processor`: runs the guest, and answers what it asks of devices; `loop`: moves data. */
enum class ThreadKind { processor, loop };

/** What a machine does with sockets while it runs: nothing, carry streams, or tell another process of descriptors, too.
 */
enum class Sockets { none, streams, descriptors };

}  // namespace bulkhead::vm
