// The container's /dev: nodes can only be made on a file system of the host's user namespace.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstdio>
#include <iterator>

#include "init/area.h"
#include "init/pseudo.h"
#include "init/root.h"

namespace bulkhead::init {
namespace {

struct Node {
  const char* name;
  unsigned major;
  unsigned minor;
};
// Documentation/admin-guide/devices.txt
constexpr Node kNodes[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
                           {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};

struct Link {
  const char* name;
  const char* target;
};
constexpr Link kLinks[] = {{"fd", "/proc/self/fd"},
                           {"stdin", "/proc/self/fd/0"},
                           {"stdout", "/proc/self/fd/1"},
                           {"stderr", "/proc/self/fd/2"},
                           {"ptmx", "pts/ptmx"}};

Status makeNode(int directory, const char* name, mode_t mode, dev_t number, Owner owner) {
  TRY(sys::makeNodeAt(directory, name, mode, number));
  if (owner.uid == 0 && owner.gid == 0) return Done{};
  return sys::changeOwner(directory, name, owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW);
}

uint32_t outsideId(const Span<plan::IdMap>& maps, uint32_t inside) {
  for (const plan::IdMap& map : maps) {
    if (inside >= map.inside && inside - map.inside < map.count) return map.outside + (inside - map.inside);
  }
  return inside;
}

/** A device of the plan, in directories that are made on the way ("net/tun"). */
Status makeDevice(int root, const plan::Container& container, const plan::Device& device) {
  char path[256];
  if (device.path.size >= sizeof path) return failure("mknodat", ENAMETOOLONG, device.path.view());
  snprintf(path, sizeof path, "%s", device.path.c_str());
  for (char* slash = path; *slash != '\0'; ++slash) {
    if (*slash != '/') continue;
    *slash = '\0';
    Status made = sys::makeDirectoryAt(root, path, 0755);
    if (!made.ok() && made.error().err != EEXIST) return made;
    *slash = '/';
  }
  const Owner owner = {outsideId(container.uidMap, device.uid), outsideId(container.gidMap, device.gid)};
  Status made = makeNode(root, path, device.mode, makedev(device.major, device.minor), owner);
  // A device of the standard set may be listed again.
  if (!made.ok() && made.error().err == EEXIST) return Done{};
  return made;
}

/** Where the terminal will show: by then a /dev that is to be read-only is. */
Status makeConsolePlace(int root) {
  const Result<Fd> made = sys::openAt(root, "console", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  return made.ok() ? Status(Done{}) : Status(made.error());
}

}  // namespace

Result<Fd> makeDev(const plan::Container& container, const plan::Mount& mount, Area* area) {
  const Owner owner = rootOwner(container);
  *area = TRY(Area::make(mount.options, owner));
  const struct stat status = TRY(sys::statusOf(area->get()));
  Result<Fd> own = area->part("dev", status.st_mode & 07777, owner);
  Fd root = own.ok() ? own.take() : area->release();
  const uint64_t attributes = mount.attributesSet & ~(MOUNT_ATTR_NODEV | lateAttributes(mount));
  TRY(sys::setMountAttributes(root.get(), "", AT_EMPTY_PATH, attributes, MOUNT_ATTR__ATIME));
  for (const Node& node : kNodes) {
    TRY(makeNode(root.get(), node.name, S_IFCHR | 0666, makedev(node.major, node.minor), owner));
  }
  for (const Link& link : kLinks) {
    TRY(sys::symlinkAt(link.target, root.get(), link.name));
    if (owner.uid != 0) TRY(sys::changeOwner(root.get(), link.name, owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW));
  }
  if ((container.process.flags & plan::kProcessTerminal) != 0) TRY(makeConsolePlace(root.get()));
  for (const plan::Device& device : container.devices) TRY(makeDevice(root.get(), container, device));
  return root;
}

}  // namespace bulkhead::init
