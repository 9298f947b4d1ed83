#include "each_device.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>

#include "sys/syscalls.h"
#include "virtio/balloon.h"
#include "virtio/block.h"
#include "virtio/console.h"
#include "virtio/entropy.h"
#include "virtio/net.h"
#include "virtio/ports.h"
#include "virtio/vsock.h"

namespace bulkhead::vm {
namespace {

/** A listening socket without a name in any directory, to which a program has connected that said this. */
Fd listenerWith(std::string_view greeting, Fd* program) {
  Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // Bound to nothing but a family, it gets a name of the kernel's.
  socklen_t size = sizeof address.sun_family;
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener.get(), 4) != 0) abort();
  size = sizeof address;
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  *program = Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(program->get(), reinterpret_cast<sockaddr*>(&address), size) != 0) abort();
  (void)!write(program->get(), greeting.data(), greeting.size());
  return listener;
}

}  // namespace

const char* nameOfKind(uint8_t kind) {
  constexpr const char* kNames[] = {"entropy", "console",           "net",  "vsock", "balloon",
                                    "block",   "block by io_uring", "ports"};
  return kNames[kind % kDeviceKinds];
}

std::unique_ptr<Device> makeDevice(uint8_t kind, Fd* program) {
  Output nowhere(sys::openAt(AT_FDCWD, "/dev/null", O_WRONLY).take());
  switch (kind % kDeviceKinds) {
    case 0:
      return std::make_unique<Entropy>();
    case 1: {
      sys::Pair pipe = sys::pipePair().take();
      sys::writeAll(pipe.right.get(), "typed", 5).ok();
      return std::make_unique<Console>(std::move(pipe.left), std::move(nowhere));
    }
    case 2: {
      NetOptions options;
      sys::Pair pair = sys::socketPair(SOCK_SEQPACKET).take();
      const std::string frame(2000, 'f');
      for (int count = 0; count < 3; ++count) send(pair.right.get(), frame.data(), frame.size() >> count, 0);
      options.frames = std::move(pair.left);
      return Net::create(std::move(options)).take();
    }
    case 3: {
      return Vsock::create({.cid = 3, .listener = listenerWith("CONNECT 1024\nhello", program), .path = ""}).take();
    }
    case 4:
      return std::make_unique<Balloon>(100);
    case 7: {
      std::vector<NamedOutput> outputs;
      outputs.push_back({"stdout", std::move(nowhere)});
      sys::Pair pipe = sys::pipePair().take();
      *program = std::move(pipe.left);
      outputs.push_back({"stderr", Output(std::move(pipe.right))});
      return std::make_unique<Ports>(std::move(outputs));
    }
    default: {
      BlockOptions options;
      options.file = sys::memoryFile("disk", 0).take();
      (void)!ftruncate(options.file.get(), 64 * 1024);
      options.oneByOne = kind % kDeviceKinds == 5;
      return Block::create(std::move(options)).take();
    }
  }
}

}  // namespace bulkhead::vm
