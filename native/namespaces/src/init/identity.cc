// From root inside to the process the plan describes.
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "init/child.h"
#include "init/gate.h"
#include "init/labels.h"
#include "init/landlock.h"
#include "init/scheduling.h"
#include "sys/retry.h"

namespace bulkhead::init {
namespace {

/** The working directory, made when it is missing; it must be reachable from the root (CVE-2024-21626). */
Status enterWorkingDirectory(const Str& path) {
  constexpr uint64_t kInside = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  Result<Fd> directory = sys::openAt2(AT_FDCWD, path.c_str(), O_PATH | O_DIRECTORY, kInside);
  if (!directory.ok() && directory.error().err == ENOENT) {
    char buffer[PATH_MAX];
    if (path.size >= sizeof buffer) return failure("chdir", ENAMETOOLONG, path.view());
    memcpy(buffer, path.data, path.size + 1);
    Fd parent = TRY(sys::openAt(AT_FDCWD, "/", O_PATH | O_DIRECTORY));
    for (char* part = buffer; part != nullptr;) {
      while (*part == '/') ++part;
      if (*part == '\0') break;
      char* next = strchr(part, '/');
      if (next != nullptr) *next = '\0';
      Status made = sys::makeDirectoryAt(parent.get(), part, 0755);
      if (!made.ok() && made.error().err != EEXIST) return failure("mkdirat", made.error().err, path.view());
      // After pivot_root the root is the container's: a link can only lead to another place inside it.
      parent = TRY(sys::openAt2(parent.get(), part, O_PATH | O_DIRECTORY, RESOLVE_NO_MAGICLINKS));
      part = next == nullptr ? nullptr : next + 1;
    }
    directory = sys::openAt2(AT_FDCWD, path.c_str(), O_PATH | O_DIRECTORY, kInside);
  }
  if (!directory.ok()) return failure("chdir", directory.error().err, path.view());
  if (fchdir(directory.value().get()) < 0) return failure("chdir", errno, path.view());
  char seen[PATH_MAX];
  // The raw call answers "(unreachable)/..." for a directory outside the root; glibc's would hide that.
  if (syscall(SYS_getcwd, seen, sizeof seen) < 0 || seen[0] != '/') return failure("getcwd", ENOENT, path.view());
  return Done{};
}

Status setLimits(const Span<plan::Limit>& limits) {
  for (const plan::Limit& limit : limits) {
    TRY(sys::setLimit(0, static_cast<int>(limit.resource), {limit.soft, limit.hard}));
  }
  return Done{};
}

Status dropBoundingSet(uint64_t keep) {
  TRY(sys::processControl("prctl PR_CAP_AMBIENT", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL));
  for (int capability = 0; capability <= kernel::kMaxCapability; ++capability) {
    if ((keep & (uint64_t{1} << capability)) != 0) continue;
    Status dropped =
        sys::processControl("prctl PR_CAPBSET_DROP", PR_CAPBSET_DROP, static_cast<unsigned long>(capability));
    if (dropped.ok()) continue;
    // The first number the kernel does not know ends the list.
    if (dropped.error().err == EINVAL) break;
    return dropped;
  }
  return Done{};
}

Status setIds(const Identity& identity) {
  // Raw calls: glibc would broadcast to threads that do not exist here.
  if (syscall(SYS_setgroups, identity.groupCount, identity.groups) < 0) return failure("setgroups", errno);
  if (syscall(SYS_setresgid, identity.gid, identity.gid, identity.gid) < 0) return failure("setresgid", errno);
  if (syscall(SYS_setresuid, identity.uid, identity.uid, identity.uid) < 0) return failure("setresuid", errno);
  return Done{};
}

/** A change of ids keeps the permitted set and empties the effective one. */
Status raiseEffective() {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) < 0) return failure("capget", errno);
  for (auto& word : data) word.effective = word.permitted;
  if (syscall(SYS_capset, &header, data) < 0) return failure("capset", errno);
  return Done{};
}

Status setCapabilities(const plan::Process& process) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {};
  for (int word = 0; word < 2; ++word) {
    data[word].permitted = static_cast<uint32_t>(process.permittedSet >> (32 * word));
    data[word].effective = data[word].permitted;
    data[word].inheritable = static_cast<uint32_t>(process.ambientSet >> (32 * word));
  }
  if (syscall(SYS_capset, &header, data) < 0) return failure("capset", errno);
  for (unsigned long capability = 0; capability <= kernel::kMaxCapability; ++capability) {
    if ((process.ambientSet & (uint64_t{1} << capability)) == 0) continue;
    TRY(sys::processControl("prctl PR_CAP_AMBIENT", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability));
  }
  return Done{};
}

/** The kernel forgets both whenever ids change: death with the shim, and that nobody inside may look into us. */
Status guardAgain(int shim) {
  TRY(sys::processControl("prctl PR_SET_DUMPABLE", PR_SET_DUMPABLE, 0));
  TRY(sys::processControl("prctl PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, SIGKILL));
  // A shim that died before that sends no signal any more; its closed socket says so.
  struct pollfd slot = {shim, 0, 0};
  if (sys::retry([&] { return poll(&slot, 1, 0); }) > 0) return failure("poll", ECONNRESET, "shim");
  return Done{};
}

}  // namespace

Status resetSignals() {
  // The kernel's struct sigaction: handler SIG_DFL, no flags, empty mask. Raw, because glibc leaves out 32 and 33,
  // which a posix_spawn with "all signals to default" sets to ignored.
  const uint64_t byDefault[4] = {};
  for (int signal = 1; signal < NSIG; ++signal) {
    // SIGKILL and SIGSTOP say EINVAL.
    (void)syscall(SYS_rt_sigaction, signal, byDefault, nullptr, sizeof(uint64_t));
  }
  sigset_t none;
  sigemptyset(&none);
  if (sigprocmask(SIG_SETMASK, &none, nullptr) < 0) return failure("sigprocmask", errno);
  return Done{};
}

Status becomeProcess(const Becoming& becoming) {
  const plan::Process& process = becoming.process;
  const Identity& identity = becoming.identity;
  Steps& steps = becoming.steps;
  TRY(steps.begin("labels"));
  TRY(setLabels(process));
  TRY(joinKeyring(process));
  TRY(steps.begin("working directory"));
  TRY(enterWorkingDirectory(process.workingDirectory));
  TRY(steps.begin("session"));
  setsid();
  TRY(resetSignals());
  TRY(steps.begin("affinity"));
  TRY(setAffinity(process.affinity));
  TRY(applyExecution(process.scheduling));
  TRY(steps.begin("rlimits"));
  TRY(setLimits(process.limits));
  umask(process.umask);
  TRY(steps.begin("capabilities"));
  TRY(dropBoundingSet(process.boundingSet));
  TRY(sys::processControl("prctl PR_SET_KEEPCAPS", PR_SET_KEEPCAPS, 1));
  TRY(steps.begin("user"));
  TRY(setIds(identity));
  TRY(guardAgain(becoming.shim));
  if (!becoming.attended) TRY(sys::processControl("prctl PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, 0));
  // Before the filter: what waits and runs hooks here is still the runtime.
  if (becoming.gate != nullptr) TRY(becoming.gate->pass(steps));
  const bool noNewPrivileges = (process.flags & plan::kProcessNoNewPrivileges) != 0;
  TRY(steps.begin("writable paths"));
  // Without no_new_privs only CAP_SYS_ADMIN may confine or filter, so both come before that is given up.
  if (!noNewPrivileges) {
    TRY(raiseEffective());
    TRY(confineWrites(process));
    TRY(steps.begin("seccomp"));
    TRY(installSeccomp(process.seccomp, becoming.notification));
  }
  TRY(setCapabilities(process));
  if (noNewPrivileges) {
    TRY(sys::processControl("prctl PR_SET_NO_NEW_PRIVS", PR_SET_NO_NEW_PRIVS, 1));
    TRY(confineWrites(process));
    TRY(steps.begin("seccomp"));
    TRY(passDescriptors(process));
    TRY(installSeccomp(process.seccomp, becoming.notification));
    return Done{};
  }
  return passDescriptors(process);
}

}  // namespace bulkhead::init
