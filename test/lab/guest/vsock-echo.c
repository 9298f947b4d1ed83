// In a guest: sends a MiB to the host's vsock port 5 and expects it back, whole and in order.
#include <fcntl.h>
#include <sys/socket.h>
// The next needs what that declares.
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { kPort = 5, kTotal = 1 << 20, kPart = 32 * 1024 };

static unsigned char expected(size_t offset) {
  return (unsigned char)(offset * 7 + offset / 251);
}

static int fail(const char* what) {
  perror(what);
  return 1;
}

int main(void) {
  const int stream = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (stream < 0) return fail("socket");
  struct sockaddr_vm host;
  memset(&host, 0, sizeof host);
  host.svm_family = AF_VSOCK;
  host.svm_cid = VMADDR_CID_HOST;
  host.svm_port = kPort;
  if (connect(stream, (struct sockaddr*)&host, sizeof host) != 0) return fail("connect");
  unsigned char bytes[kPart];
  size_t received = 0;
  for (size_t sent = 0; sent < kTotal; sent += kPart) {
    for (size_t index = 0; index < kPart; ++index) bytes[index] = expected(sent + index);
    if (write(stream, bytes, kPart) != kPart) return fail("write");
    // All of it, before more: no side has to hold more than a part.
    while (received < sent + kPart) {
      const ssize_t size = read(stream, bytes, kPart);
      if (size <= 0) return fail("read");
      for (ssize_t index = 0; index < size; ++index, ++received) {
        if (bytes[index] != expected(received)) return fail("content");
      }
    }
  }
  shutdown(stream, SHUT_WR);
  const ssize_t end = read(stream, bytes, 1);
  unsigned own = 0;
  if (ioctl(open("/dev/vsock", O_RDONLY), IOCTL_VM_SOCKETS_GET_LOCAL_CID, &own) != 0) return fail("cid");
  printf("echoed %zu to cid %u, then %zd\n", received, own, end);
  return 0;
}
