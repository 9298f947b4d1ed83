// The monitor as a process of its own, as whoever starts machines has it.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::vm {

/** Ended, whatever it is at, with its owner. */
class Monitor {
 public:
  static constexpr int kPatienceMs = 30'000;

  /** The one beside this test; a kernel's bytes, and words behind `--kernel`, `--serial` and `--control`. */
  static Result<Monitor> start(std::string_view kernel, const std::vector<std::string>& words = {});
  Monitor(Monitor&& other) noexcept;
  Monitor& operator=(Monitor&&) = delete;
  ~Monitor();

  /** Its answer; "silence" when there is none for so long, "the end" when it is gone. */
  std::string ask(std::string_view request, int patienceMs = kPatienceMs) const;
  /** A number of its `view`, by its name's first place there. */
  uint64_t number(const std::string& name) const;
  /** Whether `number` changes, before patience ends. */
  bool counts(const std::string& name) const;
  /** How it ends on its own: exit code, or -signal; -1000 when it does not. */
  int end(int patienceMs = kPatienceMs);
  /** All that it says on standard error; after its end. */
  std::string said() const;
  pid_t pid() const { return pid_; }
  /** What the guest sends to its serial port, which nobody reads unless a test does. */
  const Fd& serial() const { return serial_; }

 private:
  Monitor() = default;

  pid_t pid_ = 0;
  Fd process_;
  Fd control_;
  Fd serial_;
  Fd errors_;
};

/** Whether machines run here; says so when they do not. */
bool haveKvm();

}  // namespace bulkhead::vm
