// Shows a directory of the host in a running container.
#include <fcntl.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>

#include "reach/inside.h"
#include "reach/verbs.h"

namespace bulkhead::reach {
namespace {

constexpr uint64_t kInside = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

struct Wanted {
  sys::ProcessRef target;
  const char* beneath;
  const char* source;
  const char* destination;
  bool readOnly;
  bool noExec;
  bool idMapped;
};

Result<Wanted> read(Request* request) {
  Wanted wanted = {};
  wanted.target = TRY(request->process());
  wanted.beneath = TRY(request->text("beneath"));
  wanted.source = TRY(request->text("source"));
  wanted.destination = TRY(request->text("destination"));
  wanted.readOnly = TRY(request->flag("readOnly"));
  wanted.noExec = TRY(request->flag("noExec"));
  wanted.idMapped = TRY(request->flag("idMapped"));
  TRY(request->end());
  return wanted;
}

/** A detached, private mount of the directory, with its attributes; nothing sees it until it is put somewhere. */
Result<Fd> cloneSource(const Wanted& wanted, int userNamespace) {
  Fd beneath = TRY(sys::openAt(AT_FDCWD, wanted.beneath, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  Fd source = TRY(sys::openAt2(beneath.get(), wanted.source, O_PATH | O_DIRECTORY,
                               RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS));
  Fd tree = TRY(sys::openTree(source.get(), "", OPEN_TREE_CLONE | AT_EMPTY_PATH));
  if (wanted.idMapped && userNamespace >= 0) {
    TRY(sys::setMountAttributes(tree.get(), "", AT_EMPTY_PATH, MOUNT_ATTR_IDMAP, 0, 0, userNamespace));
  }
  const uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                              (wanted.readOnly ? uint64_t{MOUNT_ATTR_RDONLY} : 0) |
                              (wanted.noExec ? uint64_t{MOUNT_ATTR_NOEXEC} : 0);
  TRY(sys::setMountAttributes(tree.get(), "", AT_EMPTY_PATH, attributes, 0, MS_PRIVATE));
  return tree;
}

/** The directory of that name below `parent`; made when it is missing. */
Result<Fd> step(int root, int parent, char* prefix, const char* name) {
  Result<Fd> level = sys::openAt2(root, prefix, O_PATH | O_DIRECTORY, kInside);
  if (level.ok() || level.error().err != ENOENT) return level;
  Status made = sys::makeDirectoryAt(parent, name, 0755);
  if (!made.ok() && made.error().err != EEXIST) return made.error();
  return sys::openAt2(root, prefix, O_PATH | O_DIRECTORY, kInside);
}

Result<Fd> openPlace(int root, const char* destination) {
  char prefix[4096];
  const size_t size = strlen(destination);
  if (size == 0 || size >= sizeof prefix) return failure("openat2", size == 0 ? EINVAL : ENAMETOOLONG, destination);
  memcpy(prefix, destination, size + 1);
  Fd place = TRY(sys::duplicate(root, 3));
  for (char* name = prefix; name != nullptr;) {
    char* slash = strchr(name, '/');
    if (slash != nullptr) *slash = '\0';
    Result<Fd> level = step(root, place.get(), prefix, name);
    if (!level.ok()) return failure(level.error().op, level.error().err, destination);
    place = level.take();
    if (slash != nullptr) *slash = '/';
    name = slash == nullptr ? nullptr : slash + 1;
  }
  // A link of the image may lead here from anywhere; over the kernel's own files nothing may lie (CVE-2019-19921).
  if (TRY(sys::showsKernel(place.get()))) return failure("openat2", ENOTSUP, destination);
  return place;
}

bool isSame(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

}  // namespace

Status attach(Request* request, Answer* answer) {
  const Wanted wanted = TRY(read(request));
  Fd process = TRY(sys::openProcess(wanted.target));
  Fd user = TRY(userNamespaceOf(wanted.target));
  Fd tree = TRY(cloneSource(wanted, user.get()));
  // The number was still this process's when its user namespace was looked up by it.
  TRY(sys::signalPid(process.get(), 0));
  Fd root = TRY(enter(process.get(), user.get()));
  Fd place = TRY(openPlace(root.get(), wanted.destination));
  const bool already = isSame(TRY(sys::statusOf(place.get())), TRY(sys::statusOf(tree.get())));
  if (!already) TRY(sys::moveMount(tree.get(), place.get()));
  answer->name("already");
  answer->flag(already);
  return Done{};
}

}  // namespace bulkhead::reach
