#include "init/privileges.h"

#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace bulkhead::init {

void dropPrivileges() {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {};
  data[0].permitted = data[0].effective = 1u << CAP_KILL;
  syscall(SYS_capset, &header, data);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

void trimStack() {
  constexpr uintptr_t kPage = 4096;
  // Deeper than any set-up goes.
  constexpr uintptr_t kDepth = 120 * 1024;
  const uintptr_t here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  // In use are this frame and the few above it, all above this page.
  const uintptr_t end = (here & ~(kPage - 1)) - kPage;
  // What is mapped of it; the rest is reported as missing.
  (void)madvise(reinterpret_cast<void*>(end - kDepth), kDepth, MADV_DONTNEED);
}

}  // namespace bulkhead::init
