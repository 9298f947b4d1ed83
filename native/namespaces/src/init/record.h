// The two files of an instance's run directory: `status` while it is set up and runs, `exit` once it has ended.
#pragma once

#include <cstdint>

#include "sys/fd.h"
#include "sys/procfs.h"
#include "sys/result.h"

namespace bulkhead::init {

/** Milliseconds since 1970 by CLOCK_REALTIME. */
uint64_t unixMs();

struct StatusRecord {
  sys::ProcessRef shim;
  sys::ProcessRef init;
  uint64_t startedAtUnixMs;
};

struct ExitRecord {
  int code;    // -1: ended by `signal`
  int signal;  // 0: exited
  bool oomKilled;
  bool leaseExpired;
  uint64_t startedAtUnixMs;
  uint64_t finishedAtUnixMs;
  /** Log lines that could not be written. */
  uint64_t droppedLogLines;
};

Status writeStatus(int runDirectory, const StatusRecord& record);
/**
 * The place of the exit record, with its space taken when the container starts: a disk that is full or a table of open
 * files that is exhausted by its end must not cost the record.
 */
class ExitFile {
 public:
  Status reserve(int runDirectory);
  /** Fills the reserved space and gives the file its name. */
  Status write(int runDirectory, const ExitRecord& record);
  /** Takes the reservation back. */
  void discard(int runDirectory);

 private:
  Fd file_;
};

}  // namespace bulkhead::init
