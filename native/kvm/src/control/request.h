// One request of a control's socket, with the files that came with it.
#pragma once

#include <string>

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::vm {

struct Request {
  /** Longest text; there is none that needs more. */
  static constexpr size_t kTextBytes = 32;
  static constexpr size_t kFiles = 2;

  std::string text;
  /** In the order in which they were sent; closed with the request. */
  Fd files[kFiles];

  /** @returns EAGAIN when there is none, EMSGSIZE for one with more text or files, EPIPE when there will be none */
  static Result<Request> receive(int socket);
};

}  // namespace bulkhead::vm
