// One run of the command line: its global options, its log, and the first thing that went wrong.
#pragma once

#include <string>
#include <string_view>

#include "sys/result.h"

namespace bulkhead::oci {

/** Exit status of a command that failed; `exec` has its own, so that it is not taken for the program's. */
inline constexpr int kFailed = 1;
inline constexpr int kExecFailed = 255;

struct Session {
  std::string root = "/run/bulkhead-oci";
  /** Empty: standard error. */
  std::string logPath;
  bool jsonLog = false;
  bool debug = false;
  bool systemdCgroup = false;

  /** Keeps the first failure; always false, so that it can be returned. */
  bool fail(std::string message);
  bool fail(std::string_view what, const Error& error);
  /** The failure was none. */
  void forgive() { failure_.clear(); }
  void warn(std::string_view message) const { write("warning", message); }
  void trace(std::string_view message) const {
    if (debug) write("debug", message);
  }
  /** Writes the failure to the log, and to standard error when that is another file. */
  void report() const;
  const std::string& failure() const { return failure_; }
  /** What the failure says about a program that could not be executed: 126, 127, or 0. */
  int programStatus = 0;

 private:
  void write(std::string_view level, std::string_view message) const;

  std::string failure_;
};

/** Now as RFC 3339 in UTC with nanoseconds. */
std::string timestamp();

}  // namespace bulkhead::oci
