#include "control/request.h"

#include <cerrno>

#include "sys/syscalls.h"

namespace bulkhead::vm {

Result<Request> Request::receive(int socket) {
  char text[kTextBytes];
  int passed = -1;
  const sys::Received received = TRY(sys::receiveMessage(socket, text, sizeof text, &passed, 1));
  Request request;
  request.pipe = Fd(passed);
  if (received.size == 0) return failure("control", EPIPE);
  request.text.assign(text, received.size);
  return request;
}

}  // namespace bulkhead::vm
