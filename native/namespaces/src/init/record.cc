#include "init/record.h"

#include <cinttypes>
#include <cstdio>
#include <ctime>

#include "sys/file.h"

namespace bulkhead::init {

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

Status writeExit(int runDirectory, const ExitRecord& record) {
  char code[16] = "null";
  char signal[16] = "null";
  if (record.code >= 0) snprintf(code, sizeof code, "%d", record.code);
  if (record.signal > 0) snprintf(signal, sizeof signal, "%d", record.signal);
  char text[320];
  const int size =
      snprintf(text, sizeof text,
               "{\"exitCode\":%s,\"signal\":%s,\"oomKilled\":%s,\"leaseExpired\":%s,\"startedAtUnixMs\":%" PRIu64
               ",\"finishedAtUnixMs\":%" PRIu64 ",\"droppedLogLines\":%" PRIu64 "}\n",
               code, signal, record.oomKilled ? "true" : "false", record.leaseExpired ? "true" : "false",
               record.startedAtUnixMs, record.finishedAtUnixMs, record.droppedLogLines);
  return sys::replaceFile(runDirectory, "exit", {text, static_cast<size_t>(size)});
}

}  // namespace bulkhead::init
