// The socket of a container's gate, by a name in its state directory.
#pragma once

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::oci {

/** A listening socket named `name` in `directory`; paths of any length work, unlike sun_path's 108 bytes. */
Result<Fd> listenIn(int directory, const char* name);
/** Connected to the socket named `name` in `directory`; ECONNREFUSED when nobody listens any more. */
Result<Fd> connectIn(int directory, const char* name);
/** Connected to a stream socket at `path`. */
Result<Fd> connectStream(const char* path);

}  // namespace bulkhead::oci
