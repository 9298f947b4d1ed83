// The child's way into its new root.
#include <fcntl.h>
#include <sys/mount.h>

#include <cerrno>

#include "init/base.h"
#include "init/child.h"
#include "init/hook.h"
#include "init/join.h"
#include "init/mounts.h"
#include "init/report.h"

namespace bulkhead::init {
namespace {

// The image is hostile: whatever it contains at a place, resolving stays inside its root, and no link leads there.
constexpr uint64_t kNoLinks = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;

Status awaitStatus(Steps& steps, Handed* handed) {
  TRY(steps.begin("wait for status"));
  return handed->awaitStatus();
}

Status applySysctls(const plan::Container& container, int root) {
  if (container.sysctls.empty()) return Done{};
  Fd proc = TRY(sys::openAt2(root, "proc/sys", O_PATH | O_DIRECTORY, kNoLinks));
  // Only a real procfs takes the write: a volume over it could point anywhere (CVE-2025-52881).
  if (TRY(sys::filesystemType(proc.get())) != kernel::kProcMagic) return failure("fstatfs", ENODEV, "/proc/sys");
  for (const plan::Sysctl& sysctl : container.sysctls) {
    Fd file = TRY(sys::openAt2(proc.get(), sysctl.path.c_str(), O_WRONLY,
                               RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS));
    Status written = sys::writeAll(file.get(), sysctl.value.data, sysctl.value.size);
    if (!written.ok()) return failure("write", written.error().err, sysctl.path.view());
  }
  return Done{};
}

/** Where hooks run that want to see the container's mounts from outside its root; the caller's ran meanwhile. */
Status announce(const plan::Container& container, Steps& steps, int socket) {
  if ((container.flags & plan::kPlanAnnounced) == 0) return Done{};
  TRY(steps.begin("hooks"));
  const char mounted = static_cast<char>(ChildMessage::mounted);
  TRY(sys::sendMessage(socket, &mounted, 1));
  char byte;
  int state = -1;
  const sys::Received answer = TRY(sys::receiveMessage(socket, &byte, 1, &state, 1));
  if (answer.fdCount == 0) return failure("recvmsg", ECONNRESET);
  Fd owned(state);
  TRY(steps.begin("createContainer hooks"));
  return runHooks(container.createContainerHooks, {state, -1});
}

/** A slave was made one of the host's root when it was copied, and a mount inside may have asked for its own. */
Status spread(const plan::Root& root) {
  const uint64_t kind = root.propagation & ~uint64_t{MS_REC};
  if (kind != MS_SHARED && kind != MS_UNBINDABLE) return Done{};
  const unsigned deep = (root.propagation & MS_REC) != 0 ? AT_RECURSIVE : 0u;
  return sys::setMountAttributes(AT_FDCWD, "/", deep, 0, 0, kind);
}

}  // namespace

Status enterRoot(const ChildContext& context, const plan::Container& container, PreparedMounts* prepared, Fd* devNull) {
  Steps& steps = context.steps;
  TRY(steps.begin("open mount namespace"));
  const Fd joined = TRY(openMounts(container));
  TRY(steps.begin("rootfs"));
  // Nothing mounted from here on may travel back to the host, and pivot_root refuses shared parents.
  TRY(sys::setMountAttributes(AT_FDCWD, "/", AT_RECURSIVE, 0, 0, MS_PRIVATE));
  Handed handed(context.socket);
  Fd root = TRY(handed.next());
  // Covering "/" hides nothing from lookups that start at it, and always exists as a place.
  Fd host = TRY(sys::openAt(AT_FDCWD, "/", O_PATH | O_DIRECTORY));
  TRY(sys::moveMount(root.get(), host.get()));
  host.reset();
  Fd cover;
  TRY(mountAll(container, steps, root.get(), prepared, &handed, &cover));
  // Whoever looks for this container must find it, and in its limits, before it may run anything: hooks, or at the end.
  const bool hooked = (container.flags & plan::kPlanAnnounced) != 0;
  if (hooked) TRY(awaitStatus(steps, &handed));
  TRY(steps.begin("sysctl"));
  TRY(applySysctls(container, root.get()));
  TRY(announce(container, steps, context.socket));
  TRY(steps.begin("masked paths"));
  TRY(restrictPaths(container, root.get(), std::move(cover)));
  if (container.root.readOnly != 0) TRY(sys::setMountAttributes(root.get(), "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0));
  if (joined.valid()) {
    TRY(steps.begin("join mount namespace"));
    TRY(enterMounts(joined.get(), root.get()));
  } else {
    TRY(steps.begin("change root"));
    TRY(context.fromBase ? leaveBase(root.get()) : pivotInto(root.get()));
    TRY(spread(container.root));
  }
  if (!hooked) TRY(awaitStatus(steps, &handed));
  // Not before the limits are there: while cgroup v1 writes its device rules, no device can be opened for a moment.
  Result<Fd> null = sys::openAt2(root.get(), "dev/null", O_RDWR, kNoLinks);
  if (null.ok()) *devNull = null.take();
  return Done{};
}

}  // namespace bulkhead::init
