// The end of a container: everything of it on the host goes.
#pragma once

#include "oci/instance.h"
#include "oci/session.h"

namespace bulkhead::oci {

/** SIGKILL to all its processes, then its cgroups and its directory are removed. Waits at most 10 s for the processes.
 */
bool destroy(Session* session, Instance* instance);
/** As destroy(), then the poststop hooks, whose failures are only warned of. */
bool deleteContainer(Session* session, Instance* instance);

}  // namespace bulkhead::oci
