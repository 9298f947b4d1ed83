// bulkhead-sharing SERVER SOCKET=DIRECTORY... -- MONITOR [ARGUMENT]...
//
// Starts a file server for each directory that a machine shares, and becomes the machine's monitor, without a
// capability and without a way to the directories by name. It is the first process of its namespace: the servers end
// with it.
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "jail/capabilities.h"
#include "sharing/blindness.h"
#include "sharing/file_server.h"
#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

constexpr int kUsage = 2;
/** As shells say that a program could not be run; no monitor ends so. */
constexpr int kCannotStart = 126;
/** The directory of the root that holds what is shared (packages/kvm). */
constexpr const char* kShared = "shares";

Status run(int count, char** words) {
  int at = 2;
  for (; at < count && strcmp(words[at], "--") != 0; ++at) {
    char* equals = strchr(words[at], '=');
    if (equals == nullptr) return failure("SOCKET=DIRECTORY", EINVAL, words[at]);
    *equals = '\0';
    TRY(startFileServer(words[1], {.socket = words[at], .directory = equals + 1}));
  }
  if (at + 1 >= count) return failure("no monitor", EINVAL);
  // A server that ends leaves nothing to wait for: the monitor knows nothing of it.
  if (signal(SIGCHLD, SIG_IGN) == SIG_ERR) return failure("signal", errno);
  TRY(dropCapabilities());
  TRY(hideDirectory(kShared));
  char** monitor = words + at + 1;
  return sys::check(
      "exec", [&] { return execv(monitor[0], monitor); }, monitor[0]);
}

}  // namespace
}  // namespace bulkhead::vm

int main(int count, char** words) {
  if (count < 4) {
    fprintf(stderr, "bulkhead-sharing SERVER SOCKET=DIRECTORY... -- MONITOR [ARGUMENT]...\n");
    return bulkhead::vm::kUsage;
  }
  const auto failed = bulkhead::vm::run(count, words);
  fprintf(stderr, "bulkhead-sharing: %s %s: %s\n", failed.error().op, failed.error().path.c_str(),
          strerror(failed.error().err));
  return bulkhead::vm::kCannotStart;
}
