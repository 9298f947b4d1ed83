#include "jail/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "sys/retry.h"

namespace bulkhead::vm {

Status dropCapabilities() {
  // Out of the bounding set first, which itself takes a capability; who has none cannot, and needs not.
  for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EPERM)
      return failure("prctl PR_CAPBSET_DROP", errno);
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return failure("prctl PR_CAP_AMBIENT", errno);
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[2] = {};
  return sys::check("capset", [&] { return syscall(SYS_capset, &header, none); });
}

}  // namespace bulkhead::vm
