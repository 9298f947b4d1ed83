// Mount half of syscalls.h.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::sys {

Result<Fd> openFilesystem(const char* type) {
  Fd context = TRY(opened(
      "fsopen", [&] { return syscall(SYS_fsopen, type, FSOPEN_CLOEXEC); }, type));
  // What mount tables show in front of the path; "none" without it.
  (void)syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, "source", type, 0);
  return context;
}

namespace {
Status configure(int context, unsigned command, const char* key, const void* value, int aux) {
  return check(
      "fsconfig", [&] { return syscall(SYS_fsconfig, context, command, key, value, aux); },
      key == nullptr ? "create" : key);
}
}  // namespace

Status configureString(int context, const char* key, const char* value) {
  return configure(context, FSCONFIG_SET_STRING, key, value, 0);
}

Status configureFlag(int context, const char* key) {
  return configure(context, FSCONFIG_SET_FLAG, key, nullptr, 0);
}

Status configureDescriptor(int context, const char* key, int fd) {
  return configure(context, FSCONFIG_SET_FD, key, nullptr, fd);
}

Status configureCreate(int context) {
  return configure(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0);
}

Error explain(int context, Error error, std::string_view what) {
  char text[160];
  const long count = read(context, text, sizeof text);
  error.path.assign(what);
  if (count > 0) {
    error.path.append(": ");
    const bool newline = text[count - 1] == '\n';
    error.path.append({text, static_cast<size_t>(newline ? count - 1 : count)});
  }
  return error;
}

Result<Fd> createMount(int context, unsigned attributes) {
  return opened("fsmount", [&] { return syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes); });
}

Result<Fd> openTree(int at, const char* path, unsigned flags) {
  return opened(
      "open_tree", [&] { return syscall(SYS_open_tree, at, path, flags | OPEN_TREE_CLOEXEC); }, path);
}

Status moveMount(int mount, int target) {
  return check("move_mount", [&] {
    return syscall(SYS_move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  });
}

Status setMountAttributes(int at, const char* path, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation,
                          int userNamespace) {
  struct mount_attr attributes = {};
  attributes.attr_set = set;
  attributes.attr_clr = clear;
  attributes.propagation = propagation;
  if (userNamespace >= 0) attributes.userns_fd = static_cast<uint64_t>(userNamespace);
  return check(
      "mount_setattr", [&] { return syscall(SYS_mount_setattr, at, path, flags, &attributes, sizeof attributes); },
      path);
}

Status pivotRootHere() {
  return check("pivot_root", [&] { return syscall(SYS_pivot_root, ".", "."); });
}

}  // namespace bulkhead::sys
