#include "jail.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

namespace bulkhead::unpack {
namespace {

// glibc 2.36's <sys/mount.h> and <linux/mount.h> both declare this; the raw number keeps to one of them.
struct MountAttributes {
  std::uint64_t set = 0;
  std::uint64_t clear = 0;
  std::uint64_t propagation = 0;
  std::uint64_t user_namespace = 0;
};

// As pivot_root(2), NOTES: the old root ends up on top of the new one and is detached there.
bool pivot(const Fd& root) {
  if (::fchdir(root.get()) != 0) return false;
  if (::syscall(SYS_pivot_root, ".", ".") == 0) return ::umount2(".", MNT_DETACH) == 0 && ::chdir("/") == 0;
  // A host that runs from its initramfs cannot pivot. The jailed process has no CAP_SYS_CHROOT to leave a chroot.
  return errno == EINVAL && ::chroot(".") == 0 && ::chdir("/") == 0;
}

}  // namespace

Result<Fd> enter_jail(Fd directory) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return host_failure("no_new_privs");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return host_failure("dumpable");
  // Cloned before the new namespace exists: the kernel clones only mounts of the caller's own.
  Fd tree(static_cast<int>(::syscall(SYS_open_tree, directory.get(), "",
                                     OPEN_TREE_CLONE | static_cast<unsigned>(O_CLOEXEC) | AT_EMPTY_PATH)));
  if (!tree.valid()) return host_failure("open_tree");
  directory = Fd();
  if (::unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID) != 0) {
    return host_failure("unshare");
  }
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return host_failure("mount private");
  MountAttributes attributes;
  attributes.set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  attributes.propagation = MS_PRIVATE;
  if (::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0) {
    return host_failure("mount_setattr");
  }
  if (::syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return host_failure("move_mount");
  }
  if (!pivot(tree)) return host_failure("pivot_root");
  Fd root(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return host_failure("open root");
  // What the caller left open stays outside.
  tree = Fd();
  const auto next = static_cast<unsigned>(root.get());
  if (next > 3 && ::close_range(3, next - 1, 0) != 0) return host_failure("close_range");
  if (::close_range(next + 1, ~0U, 0) != 0) return host_failure("close_range");
  ::umask(0);
  return root;
}

Status keep_capabilities(std::initializer_list<unsigned> kept) {
  std::uint64_t set = 0;
  for (const unsigned capability : kept) set |= 1ULL << capability;
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return host_failure("ambient capabilities");
  for (unsigned capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if ((set >> capability & 1) == 0 && ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      return host_failure("capability bounding set");
    }
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (unsigned half = 0; half < 2; ++half) {
    data[half].permitted = data[half].effective = static_cast<std::uint32_t>(set >> (32 * half));
  }
  return ::syscall(SYS_capset, &header, data) == 0 ? Status{} : host_failure("capset");
}

Status limit_memory(std::uint64_t bytes) {
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) return host_failure("setrlimit core");
  if (bytes == 0) return {};
  const rlimit cap{bytes, bytes};
  return ::setrlimit(RLIMIT_DATA, &cap) == 0 ? Status{} : host_failure("setrlimit data");
}

}  // namespace bulkhead::unpack
