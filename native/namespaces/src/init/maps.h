// Id maps of user namespaces.
#pragma once

#include <sys/types.h>

#include "plan/plan.h"
#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::init {

/** Writes /proc/`pid`/`file` ("uid_map", "gid_map"); nothing for an empty map. */
Status writeMap(pid_t pid, const char* file, const Span<plan::IdMap>& maps);
/** A user namespace that only serves as a map, for an id-mapped mount; it has no process. */
Result<Fd> makeUserNamespace(const Span<plan::IdMap>& uids, const Span<plan::IdMap>& gids);

}  // namespace bulkhead::init
