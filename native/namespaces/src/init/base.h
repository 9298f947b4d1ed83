// The mount namespace that a container's is a copy of: three empty directories, and nothing of the host.
//
// A copy of the host's would take the longer the more is mounted there, and to leave it pivot_root visits every thread
// of the host (chroot_fs_refs, fs/fs_struct.c).
#pragma once

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::init {

class Base {
 public:
  /** None: children get a copy of the caller's own mount namespace. */
  Base() = default;
  /** In a process of its own; leaves the caller as it was. */
  static Result<Base> make();
  /** None where this kernel or the caller's surroundings do not allow one. */
  static Base makeIfAllowed();
  /** Both descriptors, where processes forked later find them; none of them is open when this fails. */
  Status moveTo(int first);
  bool valid() const { return base_.valid(); }

  /** From here until `leave` the caller is in it, and has no path to anything of the host. */
  Status enter() const;
  /**
   * Tried for a second while the kernel lacks memory. A process that cannot come back has no path to what it must undo:
   * it ends as if it were killed.
   */
  void leave() const;

 private:
  Fd base_;
  Fd home_;
};

/**
 * The child's end of it: `root`, mounted over "/", becomes the root, and the file systems below are covered. Without
 * them the kernel would let nobody in a user namespace mount /proc or /sys (mount_too_revealing, fs/namespace.c); with
 * them in sight it would let every user namespace made later, whatever is masked in the container's own.
 */
Status leaveBase(int root);
/** `root`, mounted over "/" of the caller's mount namespace, takes the place of everything in it. */
Status pivotInto(int root);

}  // namespace bulkhead::init
