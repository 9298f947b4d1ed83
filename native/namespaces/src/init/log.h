// The instance's log: one line per line of output, as Kubernetes' container runtimes write them.
//
//   2026-11-23T10:00:00.123456789Z stdout F a whole line
//   2026-11-23T10:00:00.123456789Z stderr P a piece of a longer line, or of one that never ended
#pragma once

#include <cstdint>
#include <string_view>

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::init {

/** Longest piece of a line that one log line carries. */
inline constexpr size_t kMaxPieceBytes = 16384;

/** The file and its older parts (log, log.1, log.2 …). Never blocks the container: what cannot be written is counted.
 */
class LogFile {
 public:
  /** `path` is absolute; its directory must exist. */
  Status open(const char* path, uint64_t maxBytes, uint32_t maxFiles);
  /** Adds a line; rotates first when it would not fit. */
  void append(std::string_view stream, bool whole, std::string_view text);
  uint64_t droppedLines() const { return dropped_; }

 private:
  Status reopen();
  void rotate();
  size_t prefix(char* buffer, size_t capacity, std::string_view stream, bool whole);

  Fd directory_;
  Fd file_;
  FixedText<256> name_;
  uint64_t maxBytes_ = 0;
  uint32_t maxFiles_ = 1;
  uint64_t size_ = 0;
  uint64_t dropped_ = 0;
  // The date part changes once a second; formatting it for each line would dominate.
  int64_t second_ = -1;
  char date_[32];
};

/** Cuts the bytes of one pipe into lines. */
class LogStream {
 public:
  LogStream(const char* name, char* buffer) : name_(name), buffer_(buffer) {}

  enum class State { more, drained, ended };
  /** One read; every complete line of it goes to the log. */
  State pump(int pipe, LogFile* log);
  /** The rest without a newline, as a piece. */
  void flush(LogFile* log);

 private:
  const char* name_;
  char* buffer_;  // kMaxPieceBytes
  size_t held_ = 0;
};

}  // namespace bulkhead::init
