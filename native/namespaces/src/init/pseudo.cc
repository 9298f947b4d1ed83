#include "init/pseudo.h"

#include <fcntl.h>
#include <sys/mount.h>

#include <cerrno>

namespace bulkhead::init {
namespace {

Result<Fd> makeFilesystem(const char* type, const Span<plan::MountOption>& options, uint64_t attributes) {
  const Fd context = TRY(configureFilesystem(type, options));
  return createFilesystem(context, type, attributes);
}

}  // namespace

Result<Fd> configureFilesystem(const char* type, const Span<plan::MountOption>& options) {
  Fd context = TRY(sys::openFilesystem(type));
  for (const plan::MountOption& option : options) {
    Status set = option.value.empty() ? sys::configureFlag(context.get(), option.key.c_str())
                                      : sys::configureString(context.get(), option.key.c_str(), option.value.c_str());
    if (!set.ok()) return sys::explain(context.get(), set.error(), option.key.view());
  }
  return context;
}

Result<Fd> createFilesystem(const Fd& context, const char* type, uint64_t attributes) {
  Status created = sys::configureCreate(context.get());
  if (!created.ok()) return sys::explain(context.get(), created.error(), type);
  return sys::createMount(context.get(), static_cast<unsigned>(attributes));
}

uint64_t lateAttributes(const plan::Mount& mount) {
  if (mount.kind != plan::MountKind::tmpfs && mount.kind != plan::MountKind::dev) return 0;
  return (mount.attributesSet | mount.recursiveSet) & MOUNT_ATTR_RDONLY;
}

Result<Fd> makePseudo(const plan::Mount& mount) {
  const uint64_t attributes = (mount.attributesSet | mount.recursiveSet) & ~lateAttributes(mount);
  switch (mount.kind) {
    case plan::MountKind::proc:
      return makeFilesystem("proc", mount.options, attributes);
    case plan::MountKind::sysfs:
      return makeFilesystem("sysfs", mount.options, attributes);
    case plan::MountKind::devpts:
      return makeFilesystem("devpts", mount.options, attributes);
    case plan::MountKind::mqueue:
      return makeFilesystem("mqueue", mount.options, attributes);
    case plan::MountKind::tmpfs:
      return makeFilesystem("tmpfs", mount.options, attributes);
    case plan::MountKind::bind:
    case plan::MountKind::cgroup:
    case plan::MountKind::dev:
    case plan::MountKind::remount:
      break;
  }
  return failure("plan", EINVAL, mount.destination.view());
}

}  // namespace bulkhead::init
