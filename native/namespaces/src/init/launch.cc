// execve as execvp does it, but in the container's root and with the container's PATH.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "init/child.h"

namespace bulkhead::init {
namespace {

// What a shell without PATH would use; OCI images without one expect it.
constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr size_t kMaxStrings = 65536;

const char* find(const Span<Str>& environment, std::string_view name) {
  for (const Str& entry : environment) {
    if (entry.view().starts_with(name)) return entry.data + name.size();
  }
  return nullptr;
}

/** Calls `attempt` with each path that the program may have, until it answers 0; otherwise the reason that says most.
 */
template <class Attempt>
Error search(const plan::Process& process, Attempt attempt) {
  const std::string_view program = process.arguments[0].view();
  if (program.find('/') != std::string_view::npos) return failure("execve", attempt(program.data()), program);
  const char* searched = find(process.environment, "PATH=");
  std::string_view rest = searched == nullptr ? kDefaultPath : std::string_view(searched);
  int reason = ENOENT;
  for (;;) {
    const size_t colon = rest.find(':');
    const std::string_view directory = rest.substr(0, colon);
    char path[PATH_MAX];
    if (directory.size() + program.size() + 3 <= sizeof path) {
      // An empty entry means the working directory (POSIX).
      const std::string_view prefix = directory.empty() ? std::string_view(".") : directory;
      memcpy(path, prefix.data(), prefix.size());
      path[prefix.size()] = '/';
      memcpy(path + prefix.size() + 1, program.data(), program.size() + 1);
      const int err = attempt(path);
      if (err != ENOENT && err != ENOTDIR && err != EACCES) return failure("execve", err, path);
      // Found but not executable says more than not found.
      if (err == EACCES) reason = EACCES;
    }
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  return failure("execve", reason, program);
}

}  // namespace

Status checkProgram(const plan::Process& process) {
  const Error found = search(process, [](const char* path) {
    struct stat status;
    if (fstatat(AT_FDCWD, path, &status, 0) < 0) return errno;
    if (!S_ISREG(status.st_mode)) return EACCES;
    return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? errno : 0;
  });
  if (found.err != 0) return found;
  return Done{};
}

Error launch(const plan::Process& process, const Identity& identity) {
  if (process.arguments.count > kMaxStrings || process.environment.count > kMaxStrings) {
    return failure("execve", E2BIG, process.arguments[0].view());
  }
  // On the stack: at most 1 MiB of the default 8, and nothing may fail any more.
  const char* arguments[process.arguments.count + 1];
  const char* environment[process.environment.count + 2];
  for (uint32_t index = 0; index < process.arguments.count; ++index) arguments[index] = process.arguments[index].data;
  arguments[process.arguments.count] = nullptr;
  uint32_t used = 0;
  for (const Str& entry : process.environment) environment[used++] = entry.data;
  char home[5 + 256] = "HOME=";
  if (find(process.environment, "HOME=") == nullptr) {
    memcpy(home + 5, identity.home.c_str(), identity.home.view().size() + 1);
    environment[used++] = home;
  }
  environment[used] = nullptr;

  return search(process, [&](const char* path) {
    execve(path, const_cast<char**>(arguments), const_cast<char**>(environment));
    return errno;
  });
}

}  // namespace bulkhead::init
