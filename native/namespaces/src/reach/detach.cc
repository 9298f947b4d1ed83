// Takes a shared directory out of a running container, wherever it lies in there.
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "reach/inside.h"
#include "reach/mount_table.h"
#include "reach/verbs.h"

namespace bulkhead::reach {
namespace {

// A table of mounts that grows while it is emptied: somebody inside works against us.
constexpr int kMaxRounds = 64;

/** What mountinfo shows of any mount that lies on the shared directory. */
struct Origin {
  char device[32];
  /** the directory below its file system's root, or empty when the whole file system is the share */
  char path[1024];
};

Result<unsigned> mountIdOf(int fd) {
  struct statx status;
  if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) < 0) return failure("statx", errno);
  if ((status.stx_mask & STATX_MNT_ID) == 0) return failure("statx", ENOSYS, "mount id");
  return static_cast<unsigned>(status.stx_mnt_id);
}

Result<Origin> originOf(int proc, const char* beneath, const char* source) {
  Fd base = TRY(sys::openAt(AT_FDCWD, beneath, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  Fd directory = TRY(sys::openAt2(base.get(), source, O_PATH | O_DIRECTORY,
                                  RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS));
  const unsigned mount = TRY(mountIdOf(directory.get()));
  const bool own = mount != TRY(mountIdOf(base.get()));
  MountTable table;
  TRY(table.open(proc));
  for (MountLine line; TRY(table.next(&line));) {
    if (line.id != mount) continue;
    Origin origin = {};
    snprintf(origin.device, sizeof origin.device, "%s", line.device);
    if (!own) snprintf(origin.path, sizeof origin.path, "/%s", source);
    return origin;
  }
  return failure("mountinfo", ENOENT, source);
}

/** True for the directory itself and for anything below it. */
bool comesFrom(const MountLine& line, const Origin& origin) {
  if (strcmp(line.device, origin.device) != 0) return false;
  const char* found = strstr(line.root, origin.path);
  if (found == nullptr) return false;
  const char after = found[strlen(origin.path)];
  return origin.path[0] == '\0' || after == '\0' || after == '/';
}

/** Unmounts the last one found (later mounts may lie on earlier ones); answers whether there was one. */
Result<bool> detachLast(int proc, const Origin& origin, bool* busy) {
  MountTable table;
  TRY(table.open(proc));
  char place[4096] = "";
  for (MountLine line; TRY(table.next(&line));) {
    if (comesFrom(line, origin)) snprintf(place, sizeof place, "%s", line.place);
  }
  if (place[0] == '\0') return false;
  if (umount2(place, UMOUNT_NOFOLLOW) == 0) return true;
  if (errno != EBUSY) return failure("umount2", errno, place);
  *busy = true;
  // Open files stay open until they are closed; no new one can be reached.
  if (umount2(place, UMOUNT_NOFOLLOW | MNT_DETACH) < 0) return failure("umount2", errno, place);
  return true;
}

}  // namespace

Status detach(Request* request, Answer* answer) {
  const sys::ProcessRef target = TRY(request->process());
  const char* beneath = TRY(request->text("beneath"));
  const char* source = TRY(request->text("source"));
  TRY(request->end());
  Fd process = TRY(sys::openProcess(target));
  Fd user = TRY(userNamespaceOf(target));
  // The host's own: what the container has mounted on /proc may say anything.
  Fd proc = TRY(sys::openAt(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY));
  const Origin origin = TRY(originOf(proc.get(), beneath, source));
  TRY(sys::signalPid(process.get(), 0));
  TRY(enter(process.get(), user.get()));
  uint64_t removed = 0;
  bool busy = false;
  while (TRY(detachLast(proc.get(), origin, &busy))) {
    if (++removed > kMaxRounds) return failure("umount2", EAGAIN, source);
  }
  answer->name("removed");
  answer->number(removed);
  answer->name("busy");
  answer->flag(busy);
  return Done{};
}

}  // namespace bulkhead::reach
