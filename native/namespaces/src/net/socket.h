// Netlink sockets, in this process's network namespace or in another one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "net/request.h"
#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::net {

enum class Protocol { route, netfilter };

/**
 * A bound socket. `space` is a network namespace to open it in, or -1: the calling thread enters that namespace and
 * comes back; a socket stays where it was made.
 */
Result<Fd> openSocket(Protocol protocol, int space);

/** The place in the list of operations that failed, with the kernel's words when it has some. */
struct Refused {
  uint32_t index = 0;
  Error error;
};

/** Sends a batch and waits for its answers: refusals and, at the end, the last operation's. False with `refused` set
 * when an operation failed. */
bool transact(int socket, const Batch& batch, Refused* refused);

/** Asks for a dump and hands over every answering datagram; EINTR from the kernel (it changed meanwhile) starts again.
 */
Result<std::vector<std::string>> dump(int socket, const std::string& request);

/** What a refusal says in bytes, for the fuzzer: errno of an NLMSG_ERROR body and its text, 0 for an acknowledgement.
 */
Error decodeAnswer(std::string_view body, uint16_t flags);

/** A bound but not listening socket that keeps others off a port; EADDRINUSE when somebody has it. */
Result<Fd> holdPort(bool udp, const std::string& address, uint16_t port);

}  // namespace bulkhead::net
