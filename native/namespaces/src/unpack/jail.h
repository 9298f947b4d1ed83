#pragma once

#include <cstdint>
#include <initializer_list>

#include "outcome.h"
#include "sys.h"

namespace bulkhead::unpack {

// Makes the directory open at `directory` the root of a private mount namespace, without network, IPC and other
// processes, and returns a descriptor of the new root. Children of the caller get a new pid namespace.
Result<Fd> enter_jail(Fd directory);

// Keeps exactly these capabilities, in the bounding set too.
Status keep_capabilities(std::initializer_list<unsigned> kept);

// Caps memory, so that a hostile header ends this process and not the host. 0 means no cap.
Status limit_memory(std::uint64_t bytes);

}  // namespace bulkhead::unpack
