#include "init/base.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::init {
namespace {

constexpr int kLeaveRetryMs = 10;
constexpr int kLeaveTries = 100;
// Copied over what must not be seen.
constexpr const char* kEmpty = "/empty";
/** File systems that show the kernel, of a process and a network namespace that are gone. */
struct Shown {
  const char* type;
  const char* place;
};
constexpr Shown kShown[] = {{"proc", "/proc"}, {"sysfs", "/sys"}};

Status furnish() {
  TRY(sys::processControl("prctl PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, SIGKILL));
  TRY(sys::setMountAttributes(AT_FDCWD, "/", AT_RECURSIVE, 0, 0, MS_PRIVATE));
  Fd context = TRY(sys::openFilesystem("tmpfs"));
  TRY(sys::configureString(context.get(), "mode", "0555"));
  TRY(sys::configureCreate(context.get()));
  Fd root = TRY(sys::createMount(context.get(), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  TRY(sys::makeDirectoryAt(root.get(), kEmpty + 1, 0555));
  for (const Shown& shown : kShown) TRY(sys::makeDirectoryAt(root.get(), shown.place + 1, 0555));
  Fd host = TRY(sys::openAt(AT_FDCWD, "/", O_PATH | O_DIRECTORY));
  TRY(sys::moveMount(root.get(), host.get()));
  host.reset();
  TRY(pivotInto(root.get()));
  for (const Shown& shown : kShown) {
    Fd made = TRY(sys::openFilesystem(shown.type));
    TRY(sys::configureCreate(made.get()));
    Fd mount = TRY(sys::createMount(made.get(), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
    Fd place = TRY(sys::openAt(AT_FDCWD, shown.place, O_PATH | O_DIRECTORY));
    TRY(sys::moveMount(mount.get(), place.get()));
  }
  return sys::setMountAttributes(root.get(), "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0);
}

/** Of a process that has furnished it, and waits to be ended. */
Result<Fd> openFurnished(const sys::Cloned& furnisher, int socket) {
  char byte;
  const sys::Received received = TRY(sys::receiveMessage(socket, &byte, 1));
  if (received.size == 0) return failure("recvmsg", ECONNRESET, "mount namespace");
  char path[48];
  snprintf(path, sizeof path, "/proc/%d/ns/mnt", furnisher.pid);
  return sys::openAt(AT_FDCWD, path, O_RDONLY);
}

}  // namespace

Result<Base> Base::make() {
  Base made;
  made.home_ = TRY(sys::openAt(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY));
  sys::Pair pair = TRY(sys::socketPair(SOCK_SEQPACKET));
  sys::Cloned furnisher = TRY(sys::cloneProcess(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET, -1));
  if (furnisher.pid == 0) {
    pair.left.reset();
    char byte;
    if (furnish().ok() && sys::sendMessage(pair.right.get(), "f", 1).ok()) {
      (void)sys::receiveMessage(pair.right.get(), &byte, 1).ok();
    }
    _exit(0);
  }
  pair.right.reset();
  Result<Fd> opened = openFurnished(furnisher, pair.left.get());
  // At the end of its socket it ends.
  pair.left.reset();
  (void)sys::reap(furnisher.pidfd.get(), true).ok();
  made.base_ = TRY(std::move(opened));
  // Who comes back is at the root of the namespace; a caller whose root is another one would not be where it was.
  const struct stat before = TRY(sys::statusAt(AT_FDCWD, "/", 0));
  Fd root = TRY(sys::openAt(AT_FDCWD, "/", O_PATH | O_DIRECTORY));
  TRY(made.enter());
  made.leave();
  const struct stat after = TRY(sys::statusAt(AT_FDCWD, "/", 0));
  if (before.st_dev == after.st_dev && before.st_ino == after.st_ino) return made;
  TRY(sys::changeRoot(root.get()));
  return failure("setns", ENOTSUP, "/");
}

Base Base::makeIfAllowed() {
  Result<Base> made = make();
  return made.ok() ? made.take() : Base();
}

Status Base::moveTo(int first) {
  int number = first;
  for (Fd* fd : {&base_, &home_}) {
    const int placed = dup3(fd->get(), number++, O_CLOEXEC);
    if (placed < 0) {
      const int err = errno;
      *this = Base();
      return failure("dup3", err);
    }
    *fd = Fd(placed);
  }
  return Done{};
}

Status Base::enter() const {
  return sys::enterNamespace(base_.get(), CLONE_NEWNS);
}

void Base::leave() const {
  for (int tries = 0; tries < kLeaveTries; ++tries) {
    if (sys::enterNamespace(home_.get(), CLONE_NEWNS).ok()) return;
    poll(nullptr, 0, kLeaveRetryMs);
  }
  _exit(1);
}

Status leaveBase(int root) {
  for (const Shown& shown : kShown) {
    Fd cover = TRY(sys::openTree(AT_FDCWD, kEmpty, OPEN_TREE_CLONE));
    Fd place = TRY(sys::openAt(AT_FDCWD, shown.place, O_PATH | O_DIRECTORY));
    TRY(sys::moveMount(cover.get(), place.get()));
  }
  return sys::changeRoot(root);
}

Status pivotInto(int root) {
  if (fchdir(root) < 0) return failure("fchdir", errno);
  TRY(sys::pivotRootHere());
  // The old root now lies on top of the new one, at the same place; it goes, and nothing of the host is left.
  if (umount2(".", MNT_DETACH) < 0) return failure("umount2", errno);
  if (chdir("/") < 0) return failure("chdir", errno);
  return Done{};
}

}  // namespace bulkhead::init
