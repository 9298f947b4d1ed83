#include "init/join.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "sys/file.h"
#include "sys/procfs.h"

namespace bulkhead::init {
namespace {

struct Kind {
  uint32_t type;
  const char* own;
};
constexpr Kind kKinds[] = {{CLONE_NEWUSER, "/proc/self/ns/user"}, {CLONE_NEWPID, "/proc/self/ns/pid_for_children"},
                           {CLONE_NEWNET, "/proc/self/ns/net"},   {CLONE_NEWIPC, "/proc/self/ns/ipc"},
                           {CLONE_NEWUTS, "/proc/self/ns/uts"},   {CLONE_NEWCGROUP, "/proc/self/ns/cgroup"},
                           {CLONE_NEWTIME, "/proc/self/ns/time"}};

const char* ownPath(uint32_t type) {
  for (const Kind& kind : kKinds) {
    if (kind.type == type) return kind.own;
  }
  return "";
}

bool changesNamespaces(const plan::Container& container) {
  return !container.sysctls.empty() || !container.hostname.empty() || !container.domainname.empty();
}

Result<Fd> openNamespace(const plan::NamespaceJoin& join) {
  Fd space = TRY(sys::openAt(AT_FDCWD, join.path.c_str(), O_RDONLY));
  if (ioctl(space.get(), kernel::kNsGetType) != static_cast<int>(join.type)) {
    return failure("ioctl NS_GET_NSTYPE", EINVAL, join.path.view());
  }
  return space;
}

/** The first line of an id map: inside, outside, count. */
Result<plan::IdMap> firstMap(pid_t pid, const char* file) {
  char path[48];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
  char text[8192];
  TRY(sys::readFile(AT_FDCWD, path, text, sizeof text));
  plan::IdMap map;
  if (sscanf(text, "%u %u %u", &map.inside, &map.outside, &map.count) != 3) return failure("parse", EPROTO, path);
  return map;
}

bool begins(const Span<plan::IdMap>& maps, const plan::IdMap& first) {
  return std::any_of(maps.begin(), maps.end(), [&](const plan::IdMap& map) {
    return map.inside == first.inside && map.outside == first.outside && map.count == first.count;
  });
}

Result<sys::Cloned> cloneInside(const Joined& joined, uint64_t flags) {
  // Who is in the user namespace has no right to a cgroup namespace of the host's.
  if (joined.cgroup.valid()) TRY(sys::enterNamespace(joined.cgroup.get(), CLONE_NEWCGROUP));
  if (joined.user.valid()) TRY(sys::enterNamespace(joined.user.get(), CLONE_NEWUSER));
  return sys::cloneProcess(flags | CLONE_PARENT, -1);
}

}  // namespace

bool hasUserNamespace(const plan::Container& container) {
  return (container.namespaces & CLONE_NEWUSER) != 0 ||
         std::any_of(container.joins.begin(), container.joins.end(),
                     [](const plan::NamespaceJoin& join) { return join.type == CLONE_NEWUSER; });
}

Result<Fd> openMounts(const plan::Container& container) {
  for (const plan::NamespaceJoin& join : container.joins) {
    if (join.type == CLONE_NEWNS) return openNamespace(join);
  }
  return Fd();
}

Status enterMounts(int mounts, int root) {
  const Fd copy = TRY(sys::openTree(root, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE));
  TRY(sys::enterNamespace(mounts, CLONE_NEWNS));
  return sys::changeRoot(copy.get());
}

Status joinNamespaces(const plan::Container& container, Joined* joined) {
  for (const plan::NamespaceJoin& join : container.joins) {
    if (join.type == CLONE_NEWNS) continue;
    Fd space = TRY(openNamespace(join));
    const struct stat theirs = TRY(sys::statusOf(space.get()));
    const struct stat ours = TRY(sys::statusAt(AT_FDCWD, ownPath(join.type), 0));
    const bool same = theirs.st_ino == ours.st_ino;
    // A sysctl or a name would be the host's.
    if (same && changesNamespaces(container)) return failure("setns", EPERM, join.path.view());
    if (same && join.type == CLONE_NEWUSER) return failure("setns", EINVAL, join.path.view());
    if (join.type == CLONE_NEWUSER || join.type == CLONE_NEWCGROUP) {
      (join.type == CLONE_NEWUSER ? joined->user : joined->cgroup) = std::move(space);
      continue;
    }
    // A plan names each kind once (plan/namespaces.cc), and of a hostile one only the first are looked at.
    if (joined->ownCount == joined->own.size()) return failure("setns", EINVAL, join.path.view());
    joined->own[joined->ownCount] = {join.type, TRY(sys::openAt(AT_FDCWD, ownPath(join.type), O_RDONLY))};
    TRY(sys::enterNamespace(space.get(), static_cast<int>(join.type)));
    ++joined->ownCount;
  }
  return Done{};
}

Status offsetClocks(const plan::Container& container) {
  if (container.timeOffsets.empty()) return Done{};
  TRY(sys::unshareNamespaces(CLONE_NEWTIME));
  for (const plan::TimeOffset& offset : container.timeOffsets) {
    char line[64];
    const int size = snprintf(line, sizeof line, "%s %lld %u\n", offset.clock.c_str(),
                              static_cast<long long>(offset.seconds), offset.nanoseconds);
    TRY(sys::writeFile(AT_FDCWD, "/proc/self/timens_offsets", {line, static_cast<size_t>(size)}));
  }
  return Done{};
}

Status returnHome(const Joined& joined) {
  for (size_t index = 0; index < joined.ownCount; ++index) {
    const Joined::Own& own = joined.own[index];
    TRY(sys::enterNamespace(own.space.get(), static_cast<int>(own.type)));
  }
  return Done{};
}

Result<sys::Cloned> cloneThrough(const Joined& joined, uint64_t flags, int cgroup) {
  sys::Pair pair = TRY(sys::socketPair(SOCK_SEQPACKET));
  sys::Cloned middle = TRY(sys::cloneProcess(0, cgroup));
  if (middle.pid == 0) {
    Result<sys::Cloned> cloned = cloneInside(joined, flags);
    if (cloned.ok() && cloned.value().pid == 0) return cloned;
    if (!cloned.ok()) {
      (void)sys::sendMessage(pair.right.get(), &cloned.error(), sizeof(Error)).ok();
      _exit(1);
    }
    const int pidfd = cloned.value().pidfd.get();
    _exit(sys::sendMessage(pair.right.get(), "p", 1, &pidfd, 1).ok() ? 0 : 1);
  }
  pair.right.reset();
  Error error;
  int pidfd = -1;
  Result<sys::Received> received = sys::receiveMessage(pair.left.get(), &error, sizeof error, &pidfd, 1);
  (void)sys::reap(middle.pidfd.get(), true).ok();
  if (!received.ok()) return received.error();
  // A fork of this program has its literals where we have them.
  if (received.value().size == sizeof error) return error;
  if (received.value().fdCount == 0) return failure("clone3", ECONNRESET);
  Fd process(pidfd);
  const pid_t pid = TRY(sys::numberOf(process.get()));
  return sys::Cloned{pid, std::move(process)};
}

Status compareMaps(const plan::Container& container, pid_t pid) {
  const plan::IdMap uids = TRY(firstMap(pid, "uid_map"));
  const plan::IdMap gids = TRY(firstMap(pid, "gid_map"));
  if (!begins(container.uidMap, uids)) return failure("compare", EINVAL, "uid_map");
  if (!begins(container.gidMap, gids)) return failure("compare", EINVAL, "gid_map");
  return Done{};
}

}  // namespace bulkhead::init
