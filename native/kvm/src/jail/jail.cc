#include "jail/jail.h"

#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/allow_list.h"
#include "jail/capabilities.h"
#include "sys/fd.h"
#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

/** Rights to files that Landlock knows, by its version: 13 since Linux 5.13, `refer` with 5.19, `truncate` with 6.2. */
uint64_t fileRights(long abi) {
  return (uint64_t{1} << (abi >= 3 ? 15 : abi == 2 ? 14 : 13)) - 1;
}

Status forgetFiles() {
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  // A kernel without it: the list of system calls has no way to a file either.
  if (abi < 0) return Done{};
  struct landlock_ruleset_attr attributes = {};
  attributes.handled_access_fs = fileRights(abi);
  const Fd rules = TRY(sys::opened("landlock_create_ruleset", [&] {
    return syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
  }));
  return sys::check("landlock_restrict_self", [&] { return syscall(SYS_landlock_restrict_self, rules.get(), 0); });
}

}  // namespace

Status confineProcess() {
  TRY(sys::check("prctl PR_SET_NO_NEW_PRIVS", [] { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }));
  TRY(sys::check("prctl PR_SET_DUMPABLE", [] { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }));
  TRY(dropCapabilities());
  return forgetFiles();
}

Status confineThread(ThreadKind kind, Sockets sockets) {
  const auto calls = allowedCalls(kind, sockets);
  return allowOnly({calls.data(), static_cast<uint32_t>(calls.size())});
}

}  // namespace bulkhead::vm
