// Where the cgroups of a container lie on this host.
#pragma once

#include <string>
#include <string_view>

#include "cgroup/control.h"
#include "oci/session.h"

namespace bulkhead::oci {

/**
 * The directory in every mounted hierarchy for `linux.cgroupsPath`: from the hierarchy's mount point when it is
 * absolute, else below the cgroup that the caller is in. Without one it is the container's id.
 */
bool placeCgroups(Session* session, std::string_view cgroupsPath, std::string_view id, cgroup::Paths* paths);

}  // namespace bulkhead::oci
