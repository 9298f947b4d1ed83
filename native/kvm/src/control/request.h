// One request of a control's socket, with the pipe that came with it.
#pragma once

#include <string>

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::vm {

struct Request {
  /** Longest text; there is none that needs more. */
  static constexpr size_t kTextBytes = 32;

  std::string text;
  /** Where its answer is more than a message: a writing end, closed with the request. */
  Fd pipe;

  /** @returns EAGAIN when there is none, EMSGSIZE for one with more text or descriptors, EPIPE when there will be none
   */
  static Result<Request> receive(int socket);
};

}  // namespace bulkhead::vm
