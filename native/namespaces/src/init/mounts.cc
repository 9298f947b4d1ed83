// The child's side of mounting: places found by descriptor, and what goes there.
#include <fcntl.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>

#include "init/copy_up.h"
#include "init/mounts.h"
#include "init/pseudo.h"
#include "init/root.h"

namespace bulkhead::init {
namespace {

// The image is hostile: whatever it contains at a place, resolving stays inside its root.
constexpr uint64_t kInside = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
// A place for a kernel file system may not be reached through a link at all (CVE-2019-19921, CVE-2023-27561).
constexpr uint64_t kNoLinks = kInside | RESOLVE_NO_SYMLINKS;

/** Makes the parents of `path` and gives the last one and the last name. */
Result<Fd> openParents(int root, const Str& path, uint64_t resolve, const char** name, char* buffer, size_t capacity) {
  if (path.size >= capacity) return failure("openat2", ENAMETOOLONG, path.view());
  memcpy(buffer, path.data, path.size + 1);
  Fd parent = TRY(sys::duplicate(root, 3));
  char* last = strrchr(buffer, '/');
  *name = last == nullptr ? buffer : last + 1;
  if (last == nullptr) return parent;
  *last = '\0';
  for (char* end = buffer; end != nullptr;) {
    end = strchr(end, '/');
    if (end != nullptr) *end = '\0';
    Result<Fd> level = sys::openAt2(root, buffer, O_PATH | O_DIRECTORY, resolve);
    if (!level.ok() && level.error().err == ENOENT) {
      const char* slash = strrchr(buffer, '/');
      Status made = sys::makeDirectoryAt(parent.get(), slash == nullptr ? buffer : slash + 1, 0755);
      if (!made.ok() && made.error().err != EEXIST) return failure("mkdirat", made.error().err, path.view());
      level = sys::openAt2(root, buffer, O_PATH | O_DIRECTORY, resolve);
    }
    if (!level.ok()) return level.error();
    parent = level.take();
    if (end != nullptr) *end++ = '/';
  }
  return parent;
}

/** The place of a mount as an O_PATH descriptor, made (directory or empty file) when it is missing. */
Result<Fd> openPlace(int root, const plan::Mount& mount, bool directory) {
  const uint64_t resolve =
      mount.kind == plan::MountKind::bind || mount.kind == plan::MountKind::tmpfs ? kInside : kNoLinks;
  const int flags = O_PATH | (directory ? O_DIRECTORY : 0);
  Result<Fd> place = sys::openAt2(root, mount.destination.c_str(), flags, resolve);
  if (!place.ok() && place.error().err == ENOENT) {
    char buffer[4096];
    const char* name = nullptr;
    Fd parent = TRY(openParents(root, mount.destination, resolve, &name, buffer, sizeof buffer));
    if (directory) {
      Status made = sys::makeDirectoryAt(parent.get(), name, 0755);
      if (!made.ok() && made.error().err != EEXIST)
        return failure("mkdirat", made.error().err, mount.destination.view());
    } else {
      Result<Fd> file = sys::openAt(parent.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
      if (!file.ok() && file.error().err != EEXIST)
        return failure("openat", file.error().err, mount.destination.view());
    }
    place = sys::openAt2(root, mount.destination.c_str(), flags, resolve);
  }
  if (!place.ok()) {
    // A link where a directory must be says ELOOP to the kernel's reader and ENOTDIR to ours.
    const int err = place.error().err == ELOOP ? ENOTDIR : place.error().err;
    FixedText<192> shown("/");
    shown.append(mount.destination.view());
    return failure("openat2", err, shown.view());
  }
  return place;
}

bool hasOption(const plan::Mount& mount, std::string_view key) {
  for (const plan::MountOption& option : mount.options) {
    if (option.key.view() == key) return true;
  }
  return false;
}

/** A tmpfs takes over what its place has: the mode, and with tmpcopyup the content. */
Status takeOver(int root, const plan::Mount& mount, int tree) {
  if (mount.kind != plan::MountKind::tmpfs) return Done{};
  const bool inherits = !hasOption(mount, "mode");
  const bool copies = (mount.flags & plan::kMountCopyUp) != 0;
  if (!inherits && !copies) return Done{};
  Result<Fd> place = sys::openAt2(root, mount.destination.c_str(), O_PATH | O_DIRECTORY, kInside);
  if (!place.ok()) return place.error().err == ENOENT ? Status(Done{}) : Status(place.error());
  if (inherits) TRY(inheritMode(place.value().get(), tree));
  return copies ? copyUp(place.value().get(), tree) : Status(Done{});
}

/** The new root while mounts go into it, and the device number of its /dev once that is there. */
struct Target {
  int root;
  dev_t devices;
};

/** Whether the plan itself says that a mount goes to where the kernel or its devices show. */
bool isMeantForKernel(std::string_view destination) {
  for (const std::string_view own : {"proc", "sys", "dev"}) {
    if (destination.starts_with(own) && (destination.size() == own.size() || destination[own.size()] == '/'))
      return true;
  }
  return false;
}

/**
 * A link of the image, or of a volume where another container moves it about, must not lead a mount to /proc, /sys or
 * /dev: what is masked, written and opened there would be something else (CVE-2025-31133, CVE-2025-52881).
 */
Status refuseDetour(const Target& target, const plan::Mount& mount, const Fd& place) {
  if (isMeantForKernel(mount.destination.view())) return Done{};
  const struct stat status = TRY(sys::statusOf(place.get()));
  const bool onDevices = target.devices != 0 && status.st_dev == target.devices;
  if (!onDevices && !TRY(sys::showsKernel(place.get()))) return Done{};
  return failure("openat2", ENOTSUP, mount.destination.view());
}

Status attach(Target* target, const plan::Mount& mount, const Fd& tree) {
  const struct stat status = TRY(sys::statusOf(tree.get()));
  TRY(takeOver(target->root, mount, tree.get()));
  Fd place = TRY(openPlace(target->root, mount, S_ISDIR(status.st_mode)));
  TRY(refuseDetour(*target, mount, place));
  TRY(sys::moveMount(tree.get(), place.get()));
  if (mount.kind == plan::MountKind::dev) target->devices = status.st_dev;
  // A tmpfs that is filled first is made writable, a bind has its propagation from the host's side.
  if (mount.kind == plan::MountKind::bind || mount.kind == plan::MountKind::dev) return Done{};
  const uint64_t kind = mount.propagation & ~uint64_t{MS_REC};
  const uint64_t late = lateAttributes(mount);
  if (late == 0 && kind == 0) return Done{};
  return sys::setMountAttributes(tree.get(), "", AT_EMPTY_PATH, late, 0, kind);
}

/** Attributes of the mount that is at a place already. */
Status remount(int root, const plan::Mount& mount) {
  Fd place = TRY(sys::openAt2(root, mount.destination.c_str(), O_PATH, kInside));
  const uint64_t kind = mount.propagation & ~uint64_t{MS_REC};
  const unsigned deep = (mount.propagation & MS_REC) != 0 ? AT_RECURSIVE : 0u;
  if (kind != 0) TRY(sys::setMountAttributes(place.get(), "", AT_EMPTY_PATH | deep, 0, 0, kind));
  if ((mount.recursiveSet | mount.recursiveClear) != 0) {
    TRY(sys::setMountAttributes(place.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, mount.recursiveSet,
                                mount.recursiveClear));
  }
  if ((mount.attributesSet | mount.attributesClear) == 0) return Done{};
  return sys::setMountAttributes(place.get(), "", AT_EMPTY_PATH, mount.attributesSet, mount.attributesClear);
}

/** On the tmpfs of a cgroup mount, which is attached: one for each v1 hierarchy. */
Status attachHierarchies(const plan::Container& container, const Fd& area, Handed* handed) {
  if (!hasHierarchies(container)) return Done{};
  for (const plan::CgroupDirectory& directory : container.cgroups) {
    Fd hierarchy = TRY(handed->next());
    Fd place = TRY(sys::openAt(area.get(), directory.controllers.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW));
    TRY(sys::moveMount(hierarchy.get(), place.get()));
  }
  return Done{};
}

}  // namespace

Result<Fd> Handed::next() {
  if (taken_ == count_) {
    char byte;
    const sys::Received received = TRY(sys::receiveMessage(socket_, &byte, 1, fds_, sys::kMaxPassed));
    // End of file: the shim is gone, and so must be everything it began.
    if (received.size == 0 || received.fdCount == 0) return failure("recvmsg", ECONNRESET);
    count_ = received.fdCount;
    taken_ = 0;
  }
  return Fd(fds_[taken_++]);
}

Status Handed::awaitStatus() {
  char byte;
  const sys::Received received = TRY(sys::receiveMessage(socket_, &byte, 1));
  if (received.size == 0) return failure("recvmsg", ECONNRESET);
  return Done{};
}

bool isMadeByShim(const plan::Mount& mount) {
  return mount.kind == plan::MountKind::bind || mount.kind == plan::MountKind::dev ||
         mount.kind == plan::MountKind::cgroup;
}

Status mountAll(const plan::Container& container, Steps& steps, int root, PreparedMounts* prepared, Handed* handed,
                Fd* cover) {
  Target target = {root, 0};
  Fd readOnlyDevices;
  for (uint32_t index = 0; index < container.mounts.count; ++index) {
    const plan::Mount& mount = container.mounts[index];
    FixedText<64> step("mount /");
    step.append(mount.destination.view());
    TRY(steps.begin(step.view()));
    if (mount.kind == plan::MountKind::remount) {
      TRY(remount(root, mount));
      continue;
    }
    Fd tree = isMadeByShim(mount) ? TRY(handed->next()) : TRY(prepared->take(container, index));
    TRY(attach(&target, mount, tree));
    if (mount.kind == plan::MountKind::cgroup) TRY(attachHierarchies(container, tree, handed));
    if (mount.kind != plan::MountKind::dev) continue;
    *cover = TRY(handed->further());
    if (lateAttributes(mount) != 0) readOnlyDevices = std::move(tree);
  }
  if (!readOnlyDevices.valid()) return Done{};
  return sys::setMountAttributes(readOnlyDevices.get(), "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0);
}

}  // namespace bulkhead::init
