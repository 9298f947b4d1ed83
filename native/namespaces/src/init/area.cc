#include "init/area.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdio>

#include "init/pseudo.h"
#include "sys/syscalls.h"

namespace bulkhead::init {
namespace {

Status configureNumber(int context, const char* key, unsigned value) {
  char text[16];
  snprintf(text, sizeof text, "%u", value);
  return sys::configureString(context, key, text);
}

}  // namespace

Result<Area> Area::make(const Span<plan::MountOption>& options, Owner owner) {
  const Fd context = TRY(configureFilesystem("tmpfs", options));
  TRY(configureNumber(context.get(), "uid", owner.uid));
  TRY(configureNumber(context.get(), "gid", owner.gid));
  Area made;
  made.whole_ = TRY(createFilesystem(context, "tmpfs", 0));
  return made;
}

Result<Fd> Area::part(const char* name, mode_t mode, Owner owner) const {
  TRY(sys::makeDirectoryAt(whole_.get(), name, mode));
  Result<Fd> opened = [&]() -> Result<Fd> {
    if (owner.uid != 0 || owner.gid != 0) {
      TRY(sys::changeOwner(whole_.get(), name, owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW));
    }
    return sys::openTree(whole_.get(), name, OPEN_TREE_CLONE);
  }();
  if (!opened.ok()) (void)sys::removeAt(whole_.get(), name, AT_REMOVEDIR).ok();
  return opened;
}

}  // namespace bulkhead::init
