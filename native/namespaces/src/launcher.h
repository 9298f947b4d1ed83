// Starts bulkhead-init from the agent's process without forking it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead {

struct Launched {
  pid_t pid;
  Fd pidfd;
  /** SOCK_SEQPACKET, nonblocking: Report messages come in, an exec's ControlMessages go out. */
  Fd report;
};

class Launcher {
 public:
  /** Copies the executable into a sealed memory file: a container can never change what the next start runs. */
  Status load(const std::string& initPath);
  /** `mode`: "container" or "exec". `stdio`: below 0 is /dev/null. `relay` below 0: none. */
  Result<Launched> launch(const char* mode, std::string_view plan, std::span<const int, 3> stdio, int relay);

 private:
  Fd init_;
  Fd devNull_;
};

}  // namespace bulkhead
