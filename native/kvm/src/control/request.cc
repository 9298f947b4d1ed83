#include "control/request.h"

#include <cerrno>

#include "sys/syscalls.h"

namespace bulkhead::vm {

Result<Request> Request::receive(int socket) {
  char text[kTextBytes];
  int files[kFiles] = {-1, -1};
  const sys::Received received = TRY(sys::receiveMessage(socket, text, sizeof text, files, kFiles));
  Request request;
  for (size_t index = 0; index < received.fdCount; ++index) request.files[index] = Fd(files[index]);
  if (received.size == 0) return failure("control", EPIPE);
  request.text.assign(text, received.size);
  return request;
}

}  // namespace bulkhead::vm
