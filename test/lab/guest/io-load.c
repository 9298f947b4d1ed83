// What a guest does to its devices while they are measured, and what answers it on the host.
//   io-load block DEVICE       4 KiB at random places and 128 KiB one after the other, past the page cache
//   io-load net ADDRESS        TCP streams both ways, and one byte to and fro, with `serve` at that address
//   io-load vsock              the same over vsock, with `serve-unix` on the host
//   io-load serve ADDRESS
//   io-load serve-unix PREFIX  sockets PREFIX_<port>, as the monitor's vsock device reaches them
// Prints a line "row NAME NUMBER" for each: operations, or KiB, per second.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
// The next needs what that declares.
#include <linux/vm_sockets.h>
#include <sys/ioctl.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { kSeconds = 2, kSmall = 4096, kLarge = 128 * 1024, kDeep = 32, kPiece = 64 * 1024 };
/** Ports of `serve`: takes everything, gives without end, says again what it hears. */
enum { kSink = 5001, kSource = 5002, kEcho = 5003 };

static _Noreturn void die(const char* what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void row(const char* name, double amount, double began) {
  printf("row %s %.1f\n", name, amount / (now() - began));
  fflush(stdout);
}

static unsigned next(unsigned* seed) {
  *seed = *seed * 1664525 + 1013904223;
  return *seed >> 8;
}

struct Load {
  const char* name;
  int opcode;
  unsigned depth;
  unsigned bytes;
  int sequential;
};

static const struct Load kLoads[] = {
    {"read-4k-1", IOCB_CMD_PREAD, 1, kSmall, 0},       {"read-4k-32", IOCB_CMD_PREAD, kDeep, kSmall, 0},
    {"write-4k-1", IOCB_CMD_PWRITE, 1, kSmall, 0},     {"write-4k-32", IOCB_CMD_PWRITE, kDeep, kSmall, 0},
    {"read-sequential", IOCB_CMD_PREAD, 4, kLarge, 1}, {"write-sequential", IOCB_CMD_PWRITE, 4, kLarge, 1},
};

/** Keeps `depth` requests under way; each that ends is followed by another. */
static void loadBlock(int disk, unsigned long long size, const struct Load* load) {
  static char* buffers;
  if (buffers == NULL && posix_memalign((void**)&buffers, kSmall, kDeep * kLarge) != 0) die("memory");
  memset(buffers, 'x', kDeep * kLarge);
  aio_context_t context = 0;
  if (syscall(SYS_io_setup, kDeep, &context) != 0) die("io_setup");
  struct iocb requests[kDeep];
  struct io_event events[kDeep];
  const unsigned places = (unsigned)(size / load->bytes);
  unsigned seed = 1, place = 0;
  unsigned long long done = 0;
  const double began = now();
  memset(requests, 0, sizeof requests);
  for (unsigned index = 0; index < load->depth; ++index) {
    requests[index].aio_fildes = (unsigned)disk;
    requests[index].aio_lio_opcode = (unsigned short)load->opcode;
    requests[index].aio_buf = (unsigned long)(buffers + (size_t)index * kLarge);
    requests[index].aio_nbytes = load->bytes;
    requests[index].aio_data = index;
  }
  struct iocb* batch[kDeep];
  long count = load->depth;
  for (unsigned index = 0; index < load->depth; ++index) batch[index] = &requests[index];
  for (;;) {
    for (long index = 0; index < count; ++index) {
      place = load->sequential ? (place + 1) % places : next(&seed) % places;
      batch[index]->aio_offset = (long long)place * load->bytes;
    }
    if (syscall(SYS_io_submit, context, count, batch) != count) die("io_submit");
    count = syscall(SYS_io_getevents, context, 1, kDeep, events, NULL);
    if (count < 1) die("io_getevents");
    for (long index = 0; index < count; ++index) {
      if (events[index].res != (long long)load->bytes) die(load->name);
      batch[index] = &requests[events[index].data];
    }
    done += (unsigned long long)count;
    if (now() - began > kSeconds) break;
  }
  row(load->name, (double)done * (load->sequential ? load->bytes / 1024 : 1), began);
  syscall(SYS_io_destroy, context);
}

static int block(const char* path) {
  const int disk = open(path, O_RDWR | O_DIRECT);
  unsigned long long size = 0;
  if (disk < 0 || ioctl(disk, BLKGETSIZE64, &size) != 0) die(path);
  for (size_t index = 0; index < sizeof kLoads / sizeof kLoads[0]; ++index) loadBlock(disk, size, &kLoads[index]);
  return 0;
}

/** Where a port is: `address` for TCP, NULL for vsock. */
static int connected(const char* address, int port) {
  const int stream = socket(address != NULL ? AF_INET : AF_VSOCK, SOCK_STREAM, 0);
  if (stream < 0) die("socket");
  struct sockaddr_in internet = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  struct sockaddr_vm host = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = (unsigned)port};
  if (address != NULL && inet_pton(AF_INET, address, &internet.sin_addr) != 1) die(address);
  const struct sockaddr* to = address != NULL ? (struct sockaddr*)&internet : (struct sockaddr*)&host;
  if (connect(stream, to, address != NULL ? sizeof internet : sizeof host) != 0) die("connect");
  const int on = 1;
  if (address != NULL) setsockopt(stream, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return stream;
}

static void loadStream(const char* kind, const char* address) {
  static char bytes[kPiece];
  char name[64];
  unsigned long long done = 0;
  int stream = connected(address, kSink);
  double began = now();
  while (now() - began < kSeconds) {
    const ssize_t size = write(stream, bytes, sizeof bytes);
    if (size <= 0) die("write");
    done += (unsigned long long)size;
  }
  // What is under way is not there yet: the other side answers when it has taken the last of it.
  shutdown(stream, SHUT_WR);
  if (read(stream, bytes, 1) != 1) die("read");
  snprintf(name, sizeof name, "%s-send", kind);
  row(name, (double)done / 1024, began);
  close(stream);

  stream = connected(address, kSource);
  began = now();
  for (done = 0; now() - began < kSeconds;) {
    const ssize_t size = read(stream, bytes, sizeof bytes);
    if (size <= 0) die("read");
    done += (unsigned long long)size;
  }
  snprintf(name, sizeof name, "%s-receive", kind);
  row(name, (double)done / 1024, began);
  close(stream);

  stream = connected(address, kEcho);
  began = now();
  for (done = 0; now() - began < kSeconds; ++done) {
    if (write(stream, bytes, 1) != 1 || read(stream, bytes, 1) != 1) die("echo");
  }
  snprintf(name, sizeof name, "%s-round-trip", kind);
  row(name, (double)done, began);
  close(stream);
}

static void answer(int stream, int port) {
  static char bytes[kPiece];
  const int on = 1;
  setsockopt(stream, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  for (;;) {
    const ssize_t size = port == kSource ? (ssize_t)sizeof bytes : read(stream, bytes, sizeof bytes);
    if (size == 0 && port == kSink) (void)!write(stream, bytes, 1);
    if (size <= 0) return;
    if (port != kSink && write(stream, bytes, (size_t)size) <= 0) return;
  }
}

/** One process for each port, and one for each connection: they end with whoever started this. */
static int serve(const char* address, const char* prefix) {
  const int ports[] = {kSink, kSource, kEcho};
  signal(SIGCHLD, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  int listeners[3];
  for (size_t index = 0; index < 3; ++index) {
    struct sockaddr_in internet = {.sin_family = AF_INET, .sin_port = htons((unsigned short)ports[index])};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    if (prefix != NULL) snprintf(local.sun_path, sizeof local.sun_path, "%s_%d", prefix, ports[index]);
    if (address != NULL && inet_pton(AF_INET, address, &internet.sin_addr) != 1) die(address);
    listeners[index] = socket(address != NULL ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
    const struct sockaddr* at = address != NULL ? (struct sockaddr*)&internet : (struct sockaddr*)&local;
    const int on = 1;
    setsockopt(listeners[index], SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listeners[index], at, address != NULL ? sizeof internet : sizeof local) != 0) die("bind");
    if (listen(listeners[index], 16) != 0) die("listen");
  }
  puts("ready");
  fflush(stdout);
  for (size_t index = 0; index < 3; ++index) {
    if (fork() != 0) continue;
    for (;;) {
      const int stream = accept(listeners[index], NULL, NULL);
      if (stream < 0) return 1;
      if (fork() == 0) {
        answer(stream, ports[index]);
        return 0;
      }
      close(stream);
    }
  }
  return pause();
}

int main(int count, char** words) {
  const char* what = count > 1 ? words[1] : "";
  const char* where = count > 2 ? words[2] : NULL;
  if (strcmp(what, "block") == 0 && where != NULL) return block(where);
  if (strcmp(what, "serve") == 0 && where != NULL) return serve(where, NULL);
  if (strcmp(what, "serve-unix") == 0 && where != NULL) return serve(NULL, where);
  if (strcmp(what, "net") == 0 && where != NULL) return loadStream("net", where), 0;
  if (strcmp(what, "vsock") == 0) return loadStream("vsock", NULL), 0;
  fputs("see the first lines of io-load.c\n", stderr);
  return 2;
}
