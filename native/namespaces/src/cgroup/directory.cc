#include "cgroup/directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <utility>

#include "cgroup/device_filter.h"
#include "sys/file.h"
#include "sys/kernel.h"

namespace bulkhead::cgroup {
namespace {

constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

/** v1 refuses processes in a cpuset without cpus and mems, and every new level starts empty, unless the one above says
 * otherwise (cgroup.clone_children). */
Status copyCpuset(int child) {
  char text[1024];
  // Written last below, and the kernel copies both or neither.
  if (TRY(sys::readFile(child, "cpuset.mems", text, sizeof text)) > 1) return Done{};
  for (const auto& [above, file] :
       {std::pair{"../cpuset.cpus", "cpuset.cpus"}, std::pair{"../cpuset.mems", "cpuset.mems"}}) {
    const size_t size = TRY(sys::readFile(child, above, text, sizeof text));
    TRY(sys::writeFile(child, file, {text, size}));
  }
  return Done{};
}

/** A new directory that is ready for processes. Refused, a leaf is gone: it is not on the list of what is undone yet.
 */
Result<Fd> openNew(int at, const char* path, const plan::CgroupDirectory& directory, bool leaf) {
  Result<Fd> child = sys::openAt(at, path, kDirectory);
  const Status ready = [&]() -> Status {
    if (!child.ok()) return child.error();
    const int fd = child.value().get();
    const long type = TRY(sys::filesystemType(fd));
    // A missing mount would let limits be written to ordinary files.
    if (type != kernel::kCgroupMagic && type != kernel::kCgroup2Magic) {
      return failure("fstatfs", ENODEV, directory.path.view());
    }
    return (directory.flags & plan::kCgroupCpuset) != 0 ? copyCpuset(fd) : Status(Done{});
  }();
  if (!ready.ok()) {
    if (leaf) (void)sys::removeAt(at, path, AT_REMOVEDIR).ok();
    return ready.error();
  }
  return child;
}

Result<Fd> makeChild(int parent, const char* name, const plan::CgroupDirectory& directory, bool leaf) {
  Status made = sys::makeDirectoryAt(parent, name, 0755);
  if (!made.ok() && made.error().err == EEXIST && leaf) {
    // An empty left-over gives way, so that counters start at zero; one with
    // processes stays and is an error.
    Status removed = sys::removeAt(parent, name, AT_REMOVEDIR);
    if (!removed.ok()) return failure("mkdirat", EEXIST, directory.path.view());
    made = sys::makeDirectoryAt(parent, name, 0755);
  }
  if (!made.ok() && made.error().err != EEXIST) return failure("mkdirat", made.error().err, directory.path.view());
  Result<Fd> child = openNew(parent, name, directory, leaf);
  if (child.ok() && (directory.flags & plan::kCgroupUnified) != 0 && !leaf) enableControllers(child.value().get());
  return child;
}

/** Of the v1 hierarchy with the cpu controller, alone or with others. */
bool sharesProcessor(const plan::CgroupDirectory& directory) {
  const std::string_view controllers = directory.controllers.view();
  return controllers == "cpu" || controllers.starts_with("cpu,") || controllers.ends_with(",cpu") ||
         controllers.find(",cpu,") != std::string_view::npos;
}

/** The parent of the last component, made level by level when it is missing. */
Result<Fd> openParent(const plan::CgroupDirectory& directory, const char** name, char* buffer) {
  const std::string_view path = directory.path.view();
  if (path.size() >= PATH_MAX) return failure("openat", ENAMETOOLONG, path);
  memcpy(buffer, path.data(), path.size() + 1);
  size_t end = path.size();
  while (end > 1 && buffer[end - 1] == '/') buffer[--end] = '\0';
  char* slash = strrchr(buffer, '/');
  if (slash == nullptr || slash == buffer || slash[1] == '\0') return failure("openat", EINVAL, path);
  *slash = '\0';
  *name = slash + 1;
  Result<Fd> parent = sys::openAt(AT_FDCWD, buffer, kDirectory);
  if (parent.ok() || parent.error().err != ENOENT) return parent;

  Fd at = TRY(sys::openAt(AT_FDCWD, "/", kDirectory));
  bool insideCgroup = false;
  for (char* part = buffer; part != nullptr;) {
    while (*part == '/') ++part;
    char* next = strchr(part, '/');
    if (next != nullptr) *next = '\0';
    Result<Fd> child = sys::openAt(at.get(), part, kDirectory);
    if (!child.ok() && child.error().err == ENOENT && insideCgroup) child = makeChild(at.get(), part, directory, false);
    if (!child.ok()) return failure(child.error().op, child.error().err, path);
    at = child.take();
    // Levels may be made below a mounted hierarchy only, never in a plain
    // directory that stands where one should be.
    insideCgroup = insideCgroup || faccessat(at.get(), "cgroup.procs", F_OK, 0) == 0;
    if (insideCgroup && (directory.flags & plan::kCgroupUnified) != 0) enableControllers(at.get());
    part = next == nullptr ? nullptr : next + 1;
  }
  return at;
}

/** A v2 limit whose file is missing: controllers were not handed down on the
 * way. */
void enableAncestors(const plan::CgroupDirectory& directory) {
  char path[PATH_MAX];
  memcpy(path, directory.path.data, directory.path.size + 1);
  for (char* slash = strchr(path + 1, '/'); slash != nullptr; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    Result<Fd> level = sys::openAt(AT_FDCWD, path, kDirectory);
    *slash = '/';
    if (level.ok() && faccessat(level.value().get(), "cgroup.procs", F_OK, 0) == 0) {
      enableControllers(level.value().get());
    }
  }
}

/** Does writes in order; of those that follow each other in one file only the first opens it. */
class Writer {
 public:
  explicit Writer(int directory) : directory_(directory) {}

  Status apply(const plan::CgroupWrite& write) {
    // Another file, one of several, or a value that builds on what is there.
    if (write.file.view().find_first_of("?|") != std::string_view::npos || write.value.view().starts_with('$')) {
      return applyWrite(directory_, write);
    }
    if (write.file.view() != name_) {
      name_ = {};
      file_ = TRY(sys::openAt(directory_, write.file.c_str(), O_WRONLY | O_NOCTTY));
      name_ = write.file.view();
    }
    return sys::writeAll(file_.get(), write.value.data, write.value.size);
  }

 private:
  int directory_;
  std::string_view name_;
  Fd file_;
};

}  // namespace

void enableControllers(int directory) {
  char list[256];
  Result<size_t> size = sys::readFile(directory, "cgroup.controllers", list, sizeof list);
  if (!size.ok()) return;
  char* save = nullptr;
  for (char* name = strtok_r(list, " \n", &save); name != nullptr; name = strtok_r(nullptr, " \n", &save)) {
    char request[64];
    snprintf(request, sizeof request, "+%s", name);
    // A controller that cannot be handed down shows up as a missing file when a
    // limit needs it.
    (void)sys::writeFile(directory, "cgroup.subtree_control", request).ok();
  }
}

Status applyWrite(int directory, const plan::CgroupWrite& write) {
  char value[512];
  std::string_view text = write.value.view();
  std::string_view files = write.file.view();
  const bool optional = files.starts_with('?');
  if (optional) files.remove_prefix(1);
  const bool either = files.find('|') != std::string_view::npos;
  for (;;) {
    const size_t bar = files.find('|');
    const size_t textBar = either ? text.find('|') : std::string_view::npos;
    const std::string_view own = text.substr(0, textBar);
    FixedText<192> file(files.substr(0, bar));
    Status written = [&]() -> Status {
      if (!own.starts_with('$')) return sys::writeFile(directory, file.c_str(), own);
      char now[256];
      TRY(sys::readFile(directory, file.c_str(), now, sizeof now));
      now[strcspn(now, " \n")] = '\0';
      const int size = snprintf(value, sizeof value, "%s%.*s", now, static_cast<int>(own.size() - 1), own.data() + 1);
      if (size >= static_cast<int>(sizeof value)) return failure("write", E2BIG, file.view());
      return sys::writeFile(directory, file.c_str(), {value, static_cast<size_t>(size)});
    }();
    if (written.ok() || written.error().err != ENOENT) return written;
    if (bar == std::string_view::npos) return optional ? Status(Done{}) : written;
    files.remove_prefix(bar + 1);
    if (textBar != std::string_view::npos) text.remove_prefix(textBar + 1);
  }
}

Result<Fd> makeDirectory(const plan::CgroupDirectory& directory) {
  // Most often all levels above are there, and nothing of that name.
  if (sys::makeDirectoryAt(AT_FDCWD, directory.path.c_str(), 0755).ok()) {
    return openNew(AT_FDCWD, directory.path.c_str(), directory, true);
  }
  char buffer[PATH_MAX];
  const char* name = nullptr;
  Fd parent = TRY(openParent(directory, &name, buffer));
  // Nor is anything removed from an ordinary directory.
  if (faccessat(parent.get(), "cgroup.procs", F_OK, 0) != 0) return failure("faccessat", ENODEV, directory.path.view());
  return makeChild(parent.get(), name, directory, true);
}

void Placement::remove() {
  for (size_t index = kMax; index > 0; --index) {
    fds_[index - 1].reset();
    if (std::exchange(made_[index - 1], false)) rmdir(paths_[index - 1]);
  }
  later_ = {};
  unified_ = memory_ = -1;
}

void Placement::place(size_t index, const plan::CgroupDirectory& directory, Fd fd) {
  fds_[index] = std::move(fd);
  paths_[index] = directory.path.c_str();
  if ((directory.flags & plan::kCgroupUnified) != 0) unified_ = fds_[index].get();
  if ((directory.flags & plan::kCgroupMemory) != 0) memory_ = fds_[index].get();
}

Status Placement::make(const Span<plan::CgroupDirectory>& directories, Stage stage) {
  if (directories.count > kMax) return failure("mkdirat", E2BIG, directories[kMax].path.view());
  for (uint32_t index = 0; index < directories.count; ++index) {
    const plan::CgroupDirectory& directory = directories[index];
    // Entered by CLONE_INTO_CGROUP, and charged with what the kernel allocates for the container's namespaces.
    const bool birth = (directory.flags & (plan::kCgroupUnified | plan::kCgroupMemory)) != 0;
    if (fds_[index].valid() || (stage != Stage::ahead && birth != (stage == Stage::birth))) continue;
    place(index, directory, TRY(makeDirectory(directory)));
    made_[index] = true;
    // On a busy machine a process wakes later in a group of its own that the scheduler knows: it enters that with its
    // plan.
    later_[index] = stage == Stage::later || (stage == Stage::ahead && sharesProcessor(directory));
  }
  return Done{};
}

Status Placement::open(const Span<plan::CgroupDirectory>& directories) {
  if (directories.count > kMax) return failure("openat", E2BIG, directories[kMax].path.view());
  for (uint32_t index = 0; index < directories.count; ++index) {
    place(index, directories[index], TRY(sys::openAt(AT_FDCWD, directories[index].path.c_str(), kDirectory)));
  }
  return Done{};
}

Status Placement::applyLimits(const Span<plan::CgroupDirectory>& directories) {
  for (uint32_t index = 0; index < directories.count; ++index) {
    const plan::CgroupDirectory& directory = directories[index];
    bool enabled = false;
    Writer writer(fds_[index].get());
    for (const plan::CgroupWrite& write : directory.writes) {
      Status applied = writer.apply(write);
      if (!applied.ok() && applied.error().err == ENOENT && !enabled && (directory.flags & plan::kCgroupUnified) != 0) {
        enableAncestors(directory);
        enabled = true;
        applied = writer.apply(write);
      }
      if (!applied.ok()) {
        Error error = applied.error();
        error.path.assign(directory.path.view());
        error.path.append("/");
        error.path.append(write.file.view());
        return error;
      }
    }
    if (!directory.deviceProgram.empty()) TRY(attachDeviceProgram(fds_[index].get(), directory.deviceProgram));
  }
  return Done{};
}

Status Placement::joinSelf() const {
  for (size_t index = 0; index < kMax; ++index) {
    if (!fds_[index].valid() || later_[index] || fds_[index].get() == unified_) continue;
    Status joined = sys::writeFile(fds_[index].get(), "tasks", "0");
    if (!joined.ok()) return failure(joined.error().op, joined.error().err, paths_[index]);
  }
  return Done{};
}

Result<size_t> Placement::openLater(std::array<Fd, kMax>* files) const {
  size_t count = 0;
  for (size_t index = 0; index < kMax; ++index) {
    if (later_[index]) (*files)[count++] = TRY(sys::openAt(fds_[index].get(), "tasks", O_WRONLY));
  }
  return count;
}

}  // namespace bulkhead::cgroup
