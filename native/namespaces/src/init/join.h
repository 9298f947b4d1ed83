// Namespaces that exist already, and clocks that begin elsewhere: what happens before the child is cloned.
#pragma once

#include <array>

#include "plan/plan.h"
#include "sys/fd.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::init {

struct Joined {
  /** The user namespace to be entered by the child only: who enters it loses the host's privileges. */
  Fd user;
  /** The cgroup namespace, likewise: who is in one is let into no cgroup2 outside it (nsdelegate). */
  Fd cgroup;
  bool throughAnother() const { return user.valid() || cgroup.valid(); }
  struct Own {
    uint32_t type = 0;
    Fd space;
  };
  /** Our own of each kind that we entered, to come back to: a shim is no member of what it only leads others into. */
  std::array<Own, 6> own;
  size_t ownCount = 0;
};

/** Enters (or notes) every namespace but a mount namespace that the plan names by path; each must be of its type. */
Status joinNamespaces(const plan::Container& container, Joined* joined);
/** The mount namespace that the plan names by path, for enterMounts; not valid: none. */
Result<Fd> openMounts(const plan::Container& container);
/**
 * Puts the caller into a mount namespace, with a copy of `root` and what is mounted there as its root. The copy is in
 * no namespace: nobody mounts or unmounts anything in it, the other members have no path to it, and it ends with its
 * users.
 */
Status enterMounts(int mounts, int root);
/** The next child will be in a new time namespace with the plan's offsets; nothing without any. */
Status offsetClocks(const plan::Container& container);
/** Undoes what joinNamespaces did to the caller; children born meanwhile stay where they are. */
Status returnHome(const Joined& joined);

/**
 * clone3 by way of a process that is in `cgroup` (-1: none) and then enters what only the child may: what the child
 * makes belongs to that user namespace. The child is the caller's all the same. Returns pid 0 in the child.
 */
Result<sys::Cloned> cloneThrough(const Joined& joined, uint64_t flags, int cgroup);
/** EINVAL when the process's id maps do not begin as the plan says. */
Status compareMaps(const plan::Container& container, pid_t pid);
/** The container has a user namespace that is not ours. */
bool hasUserNamespace(const plan::Container& container);

}  // namespace bulkhead::init
