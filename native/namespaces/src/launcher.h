// Starts shims from the agent's process without forking it: a fork server does.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "init/server.h"
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
  Launcher() = default;
  Launcher(Launcher&&) = default;
  Launcher& operator=(Launcher&&) = default;
  ~Launcher();

  /** Copies the executable into a sealed memory file: a container can never change what the next start runs. */
  Status load(const std::string& initPath);
  /**
   * A shim as a child of this process. `stdio`: below 0 is /dev/null. `relay` below 0: none. Starts the fork server
   * when none runs, also after somebody killed it.
   */
  Result<Launched> launch(init::Mode mode, std::string_view plan, std::span<const int, 3> stdio, int relay);

 private:
  Status startServer();
  void stopServer();
  Status send(const init::ForkRequest& request, std::span<const int> fds);

  Fd init_;
  Fd devNull_;
  Fd server_;
  Fd serverPid_;  // pidfd
};

}  // namespace bulkhead
