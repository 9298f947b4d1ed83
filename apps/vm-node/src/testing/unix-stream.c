// What a test lets instances say to each other through a Unix socket.
//   listen PATH      sends back what it hears; at its end, how many bytes that were and of whom, and closes
//   send PATH BYTES  sends so many and an end, and expects them back with their count
//   hold PATH        says a byte, hears it, and waits for the end
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { kPart = 32 * 1024 };

static int fail(const char* what) {
  printf("%s: %s\n", what, strerror(errno));
  return 1;
}

static unsigned char expected(size_t offset) {
  return (unsigned char)(offset * 7 + offset / 251);
}

static int all(int to, const char* bytes, size_t size) {
  for (size_t at = 0; at < size;) {
    const ssize_t wrote = write(to, bytes + at, size - at);
    if (wrote < 0) return -1;
    at += (size_t)wrote;
  }
  return 0;
}

static int answer(int stream) {
  static char part[kPart];
  size_t heard = 0;
  for (ssize_t got; (got = read(stream, part, sizeof part)) > 0; heard += (size_t)got) {
    if (all(stream, part, (size_t)got) < 0) return 1;
  }
  struct ucred who;
  socklen_t size = sizeof who;
  if (getsockopt(stream, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0) return 1;
  const int length = snprintf(part, sizeof part, "%zu from %u", heard, who.uid);
  return all(stream, part, (size_t)length) < 0;
}

static int serve(int listener, const struct sockaddr_un* address) {
  unlink(address->sun_path);
  // For all: on a kernel whose tmpfs takes no id map, others are nobody there.
  umask(0);
  if (bind(listener, (const struct sockaddr*)address, sizeof *address) < 0) return fail("bind");
  if (listen(listener, 64) < 0) return fail("listen");
  signal(SIGCHLD, SIG_IGN);
  for (;;) {
    const int stream = accept(listener, NULL, NULL);
    if (stream < 0) return fail("accept");
    if (fork() == 0) _exit(answer(stream));
    close(stream);
  }
}

static int say(int stream, size_t size) {
  static char part[kPart];
  for (size_t at = 0; at < size;) {
    const size_t here = size - at < sizeof part ? size - at : sizeof part;
    for (size_t index = 0; index < here; index++) part[index] = (char)expected(at + index);
    if (all(stream, part, here) < 0) return 1;
    at += here;
  }
  return shutdown(stream, SHUT_WR) < 0;
}

static int exchange(int stream, size_t size) {
  static char part[kPart];
  if (fork() == 0) _exit(say(stream, size));
  size_t heard = 0;
  char count[32] = "";
  for (ssize_t got; (got = read(stream, part, sizeof part)) != 0;) {
    if (got < 0) return fail("read");
    for (ssize_t index = 0; index < got; index++, heard++) {
      if (heard < size && part[index] != (char)expected(heard)) return fail("another byte");
      if (heard >= size && heard - size < sizeof count - 1) count[heard - size] = part[index];
    }
  }
  printf("heard %zu and %s\n", heard < size ? heard : size, count);
  return 0;
}

static int hold(int stream) {
  char byte = 'x';
  if (all(stream, &byte, 1) < 0 || read(stream, &byte, 1) != 1) return fail("echo");
  printf("held\n");
  fflush(stdout);
  const ssize_t got = read(stream, &byte, 1);
  printf(got == 0 ? "ended\n" : "broken\n");
  return 0;
}

int main(int count, char** words) {
  if (count < 3) return 2;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", words[2]);
  const int stream = socket(AF_UNIX, SOCK_STREAM, 0);
  if (stream < 0) return fail("socket");
  if (strcmp(words[1], "listen") == 0) return serve(stream, &address);
  if (connect(stream, (const struct sockaddr*)&address, sizeof address) < 0) return fail("connect");
  return strcmp(words[1], "hold") == 0 ? hold(stream) : exchange(stream, strtoul(words[3], NULL, 10));
}
