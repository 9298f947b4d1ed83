#include "sys/procfs.h"

#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "sys/file.h"

namespace bulkhead::sys {

namespace {

// proc_pid_stat(5), counted from 1.
constexpr int kFlagsField = 9;
constexpr int kStartField = 22;
/** include/linux/sched.h */
constexpr uint64_t kKernelThread = 0x00200000;

/** A number of /proc/PID/stat; EPROTO when the text is none. */
Result<uint64_t> parseField(const char* text, int wanted) {
  // The command (field 2) may hold spaces and brackets, so counting starts after its last bracket.
  const char* cursor = strrchr(text, ')');
  int field = 2;
  while (cursor != nullptr && field < wanted) {
    cursor = strchr(cursor + 1, ' ');
    ++field;
  }
  if (cursor == nullptr) return failure("parse", EPROTO);
  const char* end = strchr(cursor + 1, ' ');
  uint64_t value = 0;
  if (end == nullptr || !parseUnsigned({cursor + 1, static_cast<size_t>(end - cursor - 1)}, UINT64_MAX, &value)) {
    return failure("parse", EPROTO);
  }
  return value;
}

Result<uint64_t> readField(pid_t pid, int field) {
  char path[32];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  char text[1024];
  Result<size_t> size = readFile(AT_FDCWD, path, text, sizeof text);
  if (!size.ok()) {
    Error error = size.error();
    if (error.err == ENOENT) error.err = ESRCH;
    return error;
  }
  Result<uint64_t> value = parseField(text, field);
  return value.ok() ? value : Result<uint64_t>(failure("parse", EPROTO, path));
}

}  // namespace

Result<uint64_t> parseStartTicks(const char* text) {
  return parseField(text, kStartField);
}

Result<uint64_t> startTicks(pid_t pid) {
  return readField(pid, kStartField);
}

Result<bool> isKernelThread(pid_t pid) {
  const uint64_t flags = TRY(readField(pid, kFlagsField));
  return (flags & kKernelThread) != 0;
}

Result<pid_t> numberOf(int pidfd) {
  char path[48];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
  char text[1024];
  TRY(readFile(AT_FDCWD, path, text, sizeof text));
  const char* line = strstr(text, "\nPid:");
  int pid = 0;
  // 0: it is not in our pid namespace; -1: it has been reaped.
  if (line == nullptr || sscanf(line, "\nPid: %d", &pid) != 1 || pid <= 0) return failure("parse", ESRCH, path);
  return pid_t{pid};
}

Result<Fd> openProcess(const ProcessRef& ref) {
  Fd fd = TRY(openPid(ref.pid));
  // Opened first, compared second: once the descriptor is held its number cannot change its meaning.
  const uint64_t ticks = TRY(startTicks(ref.pid));
  if (ticks != ref.startTicks) return failure("pidfd_open", ESRCH);
  struct pollfd ended = {fd.get(), POLLIN, 0};
  if (poll(&ended, 1, 0) > 0) return failure("pidfd_open", ESRCH);
  return fd;
}

}  // namespace bulkhead::sys
