// What a container uses, as `events` tells it.
#pragma once

#include <rapidjson/document.h>

#include "cgroup/control.h"

namespace bulkhead::oci {

/**
 * `data` of a stats event, in the shape that runc's users read: cpu, memory, pids, blkio, hugetlb, rdma. Files that a
 * controller or a kernel lacks leave their part out.
 */
rapidjson::Value statistics(const cgroup::Paths& paths, rapidjson::Document* document);

}  // namespace bulkhead::oci
