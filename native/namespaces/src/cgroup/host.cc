#include "cgroup/host.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <mntent.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "sys/file.h"
#include "sys/syscalls.h"

namespace bulkhead::cgroup {
namespace {

constexpr const char* kControllers[] = {"cpu",     "cpuacct", "cpuset",  "memory",  "pids",       "blkio",
                                        "freezer", "devices", "hugetlb", "net_cls", "perf_event", "rdma"};

bool readsPositive(const char* path) {
  char text[32];
  Result<size_t> size = sys::readFile(AT_FDCWD, path, text, sizeof text);
  return size.ok() && strtol(text, nullptr, 10) > 0;
}

/** Asks overlay for a layer by descriptor without mounting anything. */
bool takesLayerDescriptors(HostFeatures* features) {
  Result<Fd> context = sys::openFilesystem("overlay");
  if (!context.ok()) {
    features->problems.push_back("overlay file systems cannot be made: " + std::string(strerror(context.error().err)));
    return false;
  }
  Result<Fd> root = sys::openAt(AT_FDCWD, "/", O_PATH | O_DIRECTORY);
  return root.ok() && sys::configureDescriptor(context.value().get(), "lowerdir+", root.value().get()).ok();
}

/** mount_setattr with an invalid namespace says EBADF where id-mapping is known, EINVAL where it is not. */
bool knowsIdMapping() {
  Result<Fd> tree = sys::openTree(AT_FDCWD, "/", OPEN_TREE_CLONE);
  if (!tree.ok()) return false;
  struct mount_attr attributes = {};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = 1u << 30;
  const long result = syscall(SYS_mount_setattr, tree.value().get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes);
  return result < 0 && errno == EBADF;
}

Result<std::string> wholeFile(const char* path) {
  Fd file = TRY(sys::openAt(AT_FDCWD, path, O_RDONLY));
  std::string text;
  char part[4096];
  for (;;) {
    const size_t size = TRY(sys::readSome(file.get(), part, sizeof part));
    if (size == 0) return text;
    text.append(part, size);
  }
}

}  // namespace

void findMounts(HostFeatures* features) {
  // Read by our own call, which goes on after a signal, as stdio does not.
  Result<std::string> text = wholeFile("/proc/self/mounts");
  FILE* table = text.ok() && !text.value().empty() ? fmemopen(text.value().data(), text.value().size(), "re") : nullptr;
  if (table == nullptr) {
    features->problems.push_back("/proc/self/mounts cannot be read");
    return;
  }
  bool v1 = false;
  bool v2 = false;
  while (const struct mntent* entry = getmntent(table)) {
    if (strcmp(entry->mnt_type, "cgroup2") == 0) {
      v2 = true;
      features->cgroupMounts.emplace_back("unified", entry->mnt_dir);
    }
    if (strcmp(entry->mnt_type, "cgroup") != 0) continue;
    for (const char* controller : kControllers) {
      if (hasmntopt(entry, controller) == nullptr) continue;
      v1 = true;
      features->cgroupMounts.emplace_back(controller, entry->mnt_dir);
    }
  }
  endmntent(table);
  features->cgroupMode = v1 ? (v2 ? "hybrid" : "v1") : "v2";
  if (!v1 && !v2) features->problems.push_back("no cgroup hierarchy is mounted");
}

HostFeatures probeHost() {
  HostFeatures features;
  struct utsname name;
  if (uname(&name) == 0) features.kernel = name.release;
  findMounts(&features);
  features.userNamespaces =
      access("/proc/self/ns/user", F_OK) == 0 && readsPositive("/proc/sys/user/max_user_namespaces");
  features.overlayLowerdirFd = takesLayerDescriptors(&features);
  features.idmappedMounts = knowsIdMapping();
  uint32_t action = SECCOMP_RET_ERRNO;
  features.seccomp = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
  const long landlock = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  features.writeConfinement = landlock >= kernel::kLeastLandlockAbi;
  if (geteuid() != 0) features.problems.push_back("not root");
  if (!features.userNamespaces) features.problems.push_back("user namespaces are switched off");
  if (!features.idmappedMounts) features.problems.push_back("mounts cannot be id-mapped (needs Linux 5.12 and root)");
  if (!features.seccomp) features.problems.push_back("seccomp filters are not available");
  if (features.cgroupMode == "v1")
    features.problems.push_back("no cgroup2 hierarchy: stopping a container is less certain");
  return features;
}

}  // namespace bulkhead::cgroup
