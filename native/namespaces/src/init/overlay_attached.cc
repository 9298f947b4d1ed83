// Overlay on kernels that take layers by path only and refuse detached ones (6.1): everything is attached for a moment
// in a private mount namespace, and only a detached copy of the result leaves it.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "init/root.h"

namespace bulkhead::init {
namespace {

Status attachLayer(int area, const char* name, const Str& path, int userNamespace) {
  TRY(sys::makeDirectoryAt(area, name, 0700));
  Fd target = TRY(sys::openAt(area, name, O_PATH | O_DIRECTORY));
  Fd layer = TRY(sys::openTree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE));
  if (userNamespace >= 0) {
    TRY(sys::setMountAttributes(layer.get(), "", AT_EMPTY_PATH, MOUNT_ATTR_IDMAP, 0, MS_PRIVATE, userNamespace));
  }
  return sys::moveMount(layer.get(), target.get());
}

Result<Fd> mountHere(const plan::Root& root, int userNamespace) {
  TRY(sys::setMountAttributes(AT_FDCWD, "/", AT_RECURSIVE, 0, 0, MS_PRIVATE));
  Fd context = TRY(sys::openFilesystem("tmpfs"));
  TRY(sys::configureString(context.get(), "mode", "0700"));
  TRY(sys::configureCreate(context.get()));
  Fd area = TRY(sys::createMount(context.get(), 0));
  // Any directory does, nobody else sees this namespace; the root itself keeps absolute paths as they were.
  Fd place = TRY(sys::openAt(AT_FDCWD, "/", O_PATH | O_DIRECTORY));
  TRY(sys::moveMount(area.get(), place.get()));

  // mount(2) takes one page of options, so layers go by short names relative to the working directory.
  char options[4096];
  size_t used = static_cast<size_t>(snprintf(options, sizeof options, "redirect_dir=nofollow,metacopy=off,lowerdir="));
  for (uint32_t index = 0; index < root.layers.count; ++index) {
    char name[16];
    snprintf(name, sizeof name, "%u", index);
    TRY(attachLayer(area.get(), name, root.layers[index], userNamespace));
    used += static_cast<size_t>(snprintf(options + used, sizeof options - used, index == 0 ? "%s" : ":%s", name));
    if (used >= sizeof options) return failure("mount", E2BIG, "lowerdir");
  }
  used += static_cast<size_t>(snprintf(options + used, sizeof options - used, ",upperdir=%s,workdir=%s",
                                       root.upper.c_str(), root.work.c_str()));
  if (used >= sizeof options) return failure("mount", E2BIG, "upperdir");
  TRY(sys::makeDirectoryAt(area.get(), "merged", 0700));
  if (fchdir(area.get()) < 0) return failure("fchdir", errno);
  if (mount("overlay", "merged", "overlay", MS_NODEV, options) < 0) return failure("mount", errno, "overlay");
  return sys::openTree(area.get(), "merged", OPEN_TREE_CLONE);
}

}  // namespace

Result<Fd> mountAttached(const plan::Root& root, int userNamespace) {
  for (const Str* path : {&root.upper, &root.work}) {
    // These would end an option or a layer in the text that mount(2) takes.
    if (path->view().find_first_of(",:\\") != std::string_view::npos) return failure("mount", EINVAL, path->view());
  }
  Fd home = TRY(sys::openAt(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY));
  TRY(sys::unshareNamespaces(CLONE_NEWNS));
  Result<Fd> mount = mountHere(root, userNamespace);
  TRY(sys::enterNamespace(home.get(), CLONE_NEWNS));
  return mount;
}

}  // namespace bulkhead::init
