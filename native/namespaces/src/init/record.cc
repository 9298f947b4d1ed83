#include "init/record.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "sys/file.h"
#include "sys/retry.h"

namespace bulkhead::init {
namespace {

constexpr const char* kReserved = ".exit.new";
// More than the longest record.
constexpr size_t kExitBytes = 320;
constexpr int kExitTries = 100;
constexpr int kExitRetryMs = 50;

}  // namespace

uint64_t unixMs() {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

Status writeStatus(int runDirectory, const StatusRecord& record) {
  char text[256];
  const int size = snprintf(text, sizeof text,
                            "{\"shim\":{\"pid\":%d,\"startTicks\":%" PRIu64
                            "},\"init\":{\"pid\":%d,\"startTicks\":%" PRIu64 "},\"startedAtUnixMs\":%" PRIu64 "}\n",
                            record.shim.pid, record.shim.startTicks, record.init.pid, record.init.startTicks,
                            record.startedAtUnixMs);
  return sys::replaceFile(runDirectory, "status", {text, static_cast<size_t>(size)});
}

Status ExitFile::reserve(int runDirectory) {
  file_ = TRY(sys::openAt(runDirectory, kReserved, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0640));
  // Blanks, which JSON allows after its end, so that nothing has to be cut off later. Written, not fallocated: some
  // file systems only promise that space.
  char blanks[kExitBytes];
  memset(blanks, ' ', sizeof blanks);
  Status written = sys::writeAll(file_.get(), blanks, sizeof blanks);
  if (!written.ok()) discard(runDirectory);
  return written;
}

void ExitFile::discard(int runDirectory) {
  if (!file_.valid()) return;
  file_.reset();
  (void)sys::removeAt(runDirectory, kReserved, 0).ok();
}

Status ExitFile::write(int runDirectory, const ExitRecord& record) {
  char code[16] = "null";
  char signal[16] = "null";
  if (record.code >= 0) snprintf(code, sizeof code, "%d", record.code);
  if (record.signal > 0) snprintf(signal, sizeof signal, "%d", record.signal);
  char text[kExitBytes];
  const int size =
      snprintf(text, sizeof text,
               "{\"exitCode\":%s,\"signal\":%s,\"oomKilled\":%s,\"leaseExpired\":%s,\"startedAtUnixMs\":%" PRIu64
               ",\"finishedAtUnixMs\":%" PRIu64 ",\"droppedLogLines\":%" PRIu64 "}\n",
               code, signal, record.oomKilled ? "true" : "false", record.leaseExpired ? "true" : "false",
               record.startedAtUnixMs, record.finishedAtUnixMs, record.droppedLogLines);
  const auto attempt = [&]() -> Status {
    TRY(sys::check("pwrite", [&] { return pwrite(file_.get(), text, static_cast<size_t>(size), 0); }));
    return sys::renameAt(runDirectory, kReserved, "exit");
  };
  Status written = attempt();
  // A host that is out of memory for a moment: nothing is as worth waiting for as this.
  for (int tries = 1; !written.ok() && tries < kExitTries; ++tries) {
    poll(nullptr, 0, kExitRetryMs);
    written = attempt();
  }
  return written;
}

}  // namespace bulkhead::init
