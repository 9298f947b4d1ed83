// The fork server: one small process per agent, of which every shim is a fork.
//
// A fork of it costs a fifth of starting the executable anew, and the forks share its pages. It is asked over a socket
// whose other end only the agent holds, does one thing at a time, keeps nothing but the base of mount namespaces
// (base.h), and ends with the agent.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace bulkhead::init {

enum class Mode : uint32_t { container = 1, exec = 2 };

/** With it come the descriptors: report, standard input, output, error, and for a terminal the relayed stream. */
struct ForkRequest {
  Mode mode;
};
inline constexpr size_t kForkFds = 4;
inline constexpr size_t kForkFdsWithRelay = 5;

/**
 * Comes on the report socket, with the pidfd of the shim, a child of the agent, unless `err` says why there is none.
 * The shim then waits there for one byte that brings the plan; at end of file it ends and has done nothing. A birth may
 * come before the plan (plan.h): then it begins with that, and at end of file undoes it.
 */
struct ForkReply {
  int32_t err;
  pid_t pid;
};

/** Where the server finds its socket. */
inline constexpr int kServerFd = 3;
/**
 * And an eventfd that is written after each request. A socket wakes its reader on the writer's CPU (WF_SYNC, the writer
 * is expected to sleep soon), where the server would wait until the agent has made its plan; an eventfd does not.
 */
inline constexpr int kBellFd = 4;

/**
 * Runs until the agent's end of the socket is closed; in a fork, until the shim's work is done. The answer is the exit
 * status. `title` is the argument that ps shows ("serve"); a fork writes its own over it.
 */
int serve(char* title);

}  // namespace bulkhead::init
