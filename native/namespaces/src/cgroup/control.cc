#include "cgroup/control.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "cgroup/directory.h"
#include "cgroup/kernel_threads.h"
#include "sys/file.h"

namespace bulkhead::cgroup {
namespace {

constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

/** Unlinks a cgroup and its children, deepest first. False when the kernel says it is busy. */
Result<bool> removeTree(int at, const char* name, int depth) {
  Status removed = sys::removeAt(at, name, AT_REMOVEDIR);
  if (removed.ok() || removed.error().err == ENOENT) return true;
  if (removed.error().err != EBUSY && removed.error().err != ENOTEMPTY) return removed.error();
  // A container can nest cgroups only as deep as the kernel lets it; a limit keeps the stack bounded all the same.
  if (depth > 64) return failure("unlinkat", ELOOP, name);
  Result<Fd> opened = sys::openAt(at, name, kDirectory);
  if (!opened.ok()) return opened.error().err == ENOENT ? Result<bool>(true) : Result<bool>(opened.error());
  const int fd = opened.value().release();
  DIR* listing = fdopendir(fd);
  if (listing == nullptr) {
    close(fd);
    return failure("fdopendir", ENOMEM, name);
  }
  bool empty = true;
  Error error;
  while (const struct dirent* entry = readdir(listing)) {
    if (entry->d_type != DT_DIR || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    Result<bool> child = removeTree(dirfd(listing), entry->d_name, depth + 1);
    if (!child.ok()) error = child.error();
    empty = empty && child.ok() && child.value();
  }
  closedir(listing);
  if (error.err != 0) return error;
  if (!empty) return false;
  removed = sys::removeAt(at, name, AT_REMOVEDIR);
  if (removed.ok() || removed.error().err == ENOENT) return true;
  if (removed.error().err == EBUSY || removed.error().err == ENOTEMPTY) return false;
  return removed.error();
}

/** Calls `visit` with each pid in the cgroup and below. */
template <class Visit>
Status forEachProcess(int at, const char* name, int depth, Visit visit) {
  Result<Fd> opened = sys::openAt(at, name, kDirectory);
  if (!opened.ok()) return opened.error().err == ENOENT ? Status(Done{}) : Status(opened.error());
  {
    Fd procs = TRY(sys::openAt(opened.value().get(), "cgroup.procs", O_RDONLY));
    FILE* lines = fdopen(procs.release(), "re");
    if (lines == nullptr) return failure("fdopen", ENOMEM, name);
    char line[32];
    while (fgets(line, sizeof line, lines) != nullptr) visit(atoi(line));
    fclose(lines);
  }
  if (depth > 64) return Done{};
  DIR* listing = fdopendir(opened.value().release());
  if (listing == nullptr) return failure("fdopendir", ENOMEM, name);
  while (const struct dirent* entry = readdir(listing)) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    (void)forEachProcess(dirfd(listing), entry->d_name, depth + 1, visit).ok();
  }
  closedir(listing);
  return Done{};
}

Status writeIn(const std::string& directory, const char* file, std::string_view value) {
  Fd fd = TRY(sys::openAt(AT_FDCWD, directory.c_str(), kDirectory));
  return sys::writeFile(fd.get(), file, value);
}

Result<std::string> readIn(const std::string& directory, const char* file) {
  Fd fd = TRY(sys::openAt(AT_FDCWD, directory.c_str(), kDirectory));
  char text[1024];
  const size_t size = TRY(sys::readFile(fd.get(), file, text, sizeof text));
  return std::string(text, size);
}

}  // namespace

const std::string* Paths::exact(std::string_view controller) const {
  const auto at =
      std::find_if(entries.begin(), entries.end(), [&](const auto& one) { return one.first == controller; });
  return at == entries.end() ? nullptr : &at->second;
}

const std::string* Paths::find(std::string_view controller) const {
  return isV2() ? unified() : exact(controller);
}

Status requestFreeze(const Paths& paths, bool freeze) {
  // Hybrid hosts have the better freezer too: it tells when it is done and lets SIGKILL through.
  if (const std::string* unified = paths.unified()) {
    if (freeze) TRY(expelKernelThreads(*unified));
    return writeIn(*unified, "cgroup.freeze", freeze ? "1" : "0");
  }
  const std::string* freezer = paths.exact("freezer");
  if (freezer == nullptr) return failure("write", ENODEV, "freezer");
  return writeIn(*freezer, "freezer.state", freeze ? "FROZEN" : "THAWED");
}

Result<bool> frozen(const Paths& paths) {
  if (const std::string* unified = paths.unified()) {
    const std::string events = TRY(readIn(*unified, "cgroup.events"));
    return events.find("frozen 1") != std::string::npos;
  }
  const std::string* freezer = paths.exact("freezer");
  if (freezer == nullptr) return failure("read", ENODEV, "freezer");
  const std::string state = TRY(readIn(*freezer, "freezer.state"));
  // v1 needs asking again: tasks that forked meanwhile are only caught by the next write.
  if (state.starts_with("FREEZING")) TRY(writeIn(*freezer, "freezer.state", "FROZEN"));
  return state.starts_with("FROZEN");
}

Status killAll(const Paths& paths) {
  if (const std::string* unified = paths.unified()) {
    Status killed = writeIn(*unified, "cgroup.kill", "1");
    if (killed.ok()) return killed;
    if (killed.error().err != ENOENT) return killed;
    // Gone is killed; a kernel before 5.14 has the directory but not the file.
    if (access(unified->c_str(), F_OK) != 0) return Done{};
  }
  if (paths.entries.empty()) return failure("kill", EINVAL);
  const bool canFreeze = paths.unified() != nullptr || paths.exact("freezer") != nullptr;
  // Held still while the list is read, so that no fork escapes it.
  const bool holding = canFreeze && requestFreeze(paths, true).ok();
  const auto kill = [](pid_t pid) {
    Result<Fd> process = sys::openPid(pid);
    if (process.ok()) (void)sys::signalPid(process.value().get(), SIGKILL).ok();
  };
  const std::string& any = paths.unified() != nullptr ? *paths.unified() : paths.entries.front().second;
  Status visited = forEachProcess(AT_FDCWD, any.c_str(), 0, kill);
  if (holding) {
    Status thawed = requestFreeze(paths, false);
    if (!thawed.ok() && thawed.error().err != ENOENT) return thawed;
  }
  return visited;
}

Result<std::vector<pid_t>> processes(const Paths& paths) {
  std::vector<pid_t> pids;
  if (paths.entries.empty()) return failure("openat", ENODEV, "cgroup");
  const std::string& any = paths.unified() != nullptr ? *paths.unified() : paths.entries.front().second;
  TRY(forEachProcess(AT_FDCWD, any.c_str(), 0, [&](pid_t pid) { pids.push_back(pid); }));
  return pids;
}

Status signalAll(const Paths& paths, int signal) {
  if (signal == SIGKILL) return killAll(paths);
  for (const pid_t pid : TRY(processes(paths))) {
    Result<Fd> process = sys::openPid(pid);
    if (process.ok()) (void)sys::signalPid(process.value().get(), signal).ok();
  }
  return Done{};
}

Result<bool> removeOnce(const Paths& paths) {
  bool gone = true;
  for (const auto& entry : paths.entries) {
    const bool removed = TRY(removeTree(AT_FDCWD, entry.second.c_str(), 0));
    gone = gone && removed;
  }
  return gone;
}

Result<Fd> openEvents(const Paths& paths) {
  const std::string* unified = paths.unified();
  if (unified == nullptr) return failure("openat", ENODEV, "unified");
  return sys::openAt(AT_FDCWD, (*unified + "/cgroup.events").c_str(), O_RDONLY);
}

}  // namespace bulkhead::cgroup
