// What the threads of a machine's process are for.
#pragma once

namespace bulkhead::vm {

/** `processor`: runs the guest, and answers what it asks of devices; `loop`: moves data. */
enum class ThreadKind { processor, loop };

}  // namespace bulkhead::vm
