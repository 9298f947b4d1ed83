// Starts shims from the agent's process without forking it: a fork server does.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "init/server.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead {

struct Forked {
  pid_t pid;
  Fd pidfd;
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
   * Cgroups, one directory per hierarchy, that shims are born in from now on, because their fork server lives there;
   * without any they are where this process is.
   */
  void placeIn(const std::vector<std::string>& cgroups);
  /**
   * Begins a shim that will be a child of this process, and does not wait for it. `stdio`: below 0 is /dev/null.
   * `relay` below 0: none. Starts the fork server when none runs, also after somebody killed it. The answer is the
   * report socket (SOCK_SEQPACKET, nonblocking): `await` and `hand` come first, then Report messages come in and an
   * exec's ControlMessages go out.
   *
   * `birth`, unless empty, is that of a container's first process, and is there before the shim is: handed to one that
   * waits, it would wake it on this process's CPU, and this process would stand still while the other CPUs do.
   */
  Result<Fd> fork(init::Mode mode, std::span<const int, 3> stdio, int relay, std::string_view birth);
  /** The shim behind a report socket; to be called once, also by a caller who gives up, or nobody reaps it. */
  static Result<Forked> await(int report);
  /**
   * Lets it begin: a plan. With one that no birth came before go the `descriptors` that its program gets, as many as it
   * says.
   */
  static Status hand(int report, std::string_view plan, std::span<const int> descriptors = {});

 private:
  Status startServer();
  Status placeServer();
  void stopServer();
  Status send(const init::ForkRequest& request, std::span<const int> fds);

  Fd init_;
  Fd devNull_;
  Fd server_;
  Fd bell_;
  Fd serverPid_;  // pidfd
  std::vector<std::string> cgroups_;
};

}  // namespace bulkhead
