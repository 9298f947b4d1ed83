// Runs bulkhead-init or bulkhead-oci under ptrace and disturbs one of its system calls, or ends one of its processes at
// it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sys/fd.h"

namespace bulkhead::test {

/** Processes are numbered as they appear: 0 is the shim, 1 the first it makes, and so on. */
struct Fault {
  enum class Kind { none, fail, kill };
  Kind kind = Kind::none;
  unsigned process = 0;
  /** Which of that process's system calls since its start, from 0. */
  size_t call = 0;
  int err = 0;
  /** With kill: which process goes. */
  unsigned victim = 0;
};

struct Traced {
  /** Numbers of the calls each process made before it became the container's program. */
  std::vector<std::vector<long>> calls;
  /** The call the fault hit; -1 when the run never came to it. */
  long hit = -1;
};

class Tracer {
 public:
  /** `executable` is bulkhead-init; `mode` "container" or "exec", and what more it is told. */
  Tracer(std::string executable, const char* mode, const char* more = nullptr)
      : executable_(std::move(executable)), mode_(mode), more_(more) {}

  /** `command`: bulkhead-oci and its arguments; its standard output and errors go nowhere. */
  explicit Tracer(std::vector<std::string> command) : executable_(command[0]), command_(std::move(command)) {}
  /** A plan that comes after the first, which is then a birth: it waits on the report socket from the start. */
  void follow(std::string plan) { next_ = std::move(plan); }
  /** As run() below, of a command; `settled` is called when it has ended, while what it made may still run. */
  Traced run(const Fault& fault, const std::function<void()>& settled) { return run({}, fault, settled); }
  /** How the command ended, as waitpid(2) has it. */
  int status() const { return status_; }

  /** `settled` is called once, when the shim begins to wait for the end of what it started. */
  Traced run(std::string_view plan, const Fault& fault, const std::function<void()>& settled);
  /** The caller's end of the report socket of the last run. */
  const Fd& report() const { return report_; }
  /** Not a close (skipping it leaks by our own doing), nor what ends a process. */
  static bool canFail(long number);

 private:
  struct Process {
    unsigned number;
    bool inCall;
    bool failing;
  };

  void launch(std::string_view plan);
  [[noreturn]] void becomeCommand();
  /** A program of ours after execve: the command line becomes bulkhead-init, which becomes anybody's. */
  bool isOurs(pid_t pid) const;
  void add(pid_t pid);
  void stopped(pid_t pid, int status);
  void systemCall(pid_t pid, Process* process);
  void entered(pid_t pid, Process* process, long number);
  void resume(pid_t pid, int signal);
  pid_t pidOf(unsigned number) const;

  std::string executable_;
  const char* mode_ = nullptr;
  const char* more_ = nullptr;
  std::vector<std::string> command_;
  std::string next_;
  int status_ = 0;
  Fd report_;
  Fault fault_;
  Traced traced_;
  std::function<void()> settled_;
  std::map<pid_t, Process> processes_;
  std::set<pid_t> seen_;
  bool begun_ = false;
};

}  // namespace bulkhead::test
