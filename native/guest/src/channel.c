#define _GNU_SOURCE
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "loop.h"
#include "machine.h"
#include "report.h"

enum { kVsockPort = 1024 };

// Streams are bounded by their windows; this bounds them all together. An agent that takes nothing is no agent.
enum { kOutgoingMax = 48 << 20 };

// That the host left a port, and that it is there again, is told on another of the kernel's queues than what it sends,
// and can come after it: only a host that is still away a moment later has left, and not one that greeted meanwhile.
enum { kAwayMs = 250 };

static struct source channel = {.file = -1};
static struct source patience = {.file = -1};
static bool away;
static struct source listener = {.file = -1};
static struct frame_reader reader;
static bool greeted;
static bool isPort;
// The greeting is not yet out. What the host sends through a port can overtake the word that it is there, which another
// of the kernel's queues carries; until then a port reads as ended and takes nothing.
static bool greetingWaits;

static uint8_t* outgoing;
static size_t outgoingSize;
static size_t outgoingUsed;

static bool hostIsThere(void) {
  struct pollfd port = {.fd = channel.file};
  return poll(&port, 1, 0) >= 0 && (port.revents & POLLHUP) == 0;
}

static void disconnect(void) {
  away = false;
  greeted = false;
  reader.have = 0;
  outgoingUsed = 0;
  onDisconnect();
  if (isPort) {
    // It stays open; a host that comes back is heard by the port's becoming readable.
    await(&channel, EPOLLIN | EPOLLET);
    return;
  }
  forget(&channel);
  close(channel.file);
  channel.file = -1;
  await(&listener, EPOLLIN);
}

static void hostLeft(void) {
  if (!isPort) return disconnect();
  if (away) return;
  away = true;
  const struct itimerspec once = {.it_value.tv_nsec = kAwayMs * 1000000};
  timerfd_settime(patience.file, 0, &once, NULL);
}

static void flush(void) {
  // What is for one host must not begin what another hears.
  if (away && !hostIsThere()) return;
  away = false;
  size_t sent = 0;
  while (sent < outgoingUsed) {
    const ssize_t wrote = write(channel.file, outgoing + sent, outgoingUsed - sent);
    if (wrote <= 0) break;
    sent += (size_t)wrote;
  }
  outgoingUsed -= sent;
  memmove(outgoing, outgoing + sent, outgoingUsed);
  if (outgoingUsed == 0) greetingWaits = false;
  const uint32_t edge = isPort ? EPOLLET : 0;
  await(&channel, EPOLLIN | edge | (outgoingUsed > 0 ? EPOLLOUT : 0));
}

static void append(const void* bytes, size_t size) {
  if (outgoingUsed + size > outgoingSize) {
    const size_t wanted = (outgoingUsed + size) * 2;
    uint8_t* grown = realloc(outgoing, wanted);
    if (grown == NULL) return;
    outgoing = grown;
    outgoingSize = wanted;
  }
  memcpy(outgoing + outgoingUsed, bytes, size);
  outgoingUsed += size;
}

void sendFrame(enum frame_type type, uint16_t stream, const void* payload, size_t size) {
  if (!greeted || outgoingUsed + size > kOutgoingMax) return;
  const struct frame frame = {.size = (uint32_t)size, .type = (uint8_t)type, .stream = stream};
  append(&frame, sizeof frame);
  append(payload, size);
  flush();
}

static void take(const struct frame* frame, const uint8_t* payload) {
  if (frame->type == kFrameHello) {
    onDisconnect();
    away = false;
    outgoingUsed = 0;
    greeted = true;
    greetingWaits = true;
    const uint32_t version = kProtocolVersion;
    sendFrame(kFrameHello, 0, &version, sizeof version);
    return;
  }
  if (greeted) onFrame(frame, payload);
}

static void channelReady(struct source* source, uint32_t events) {
  if ((events & EPOLLOUT) != 0) flush();
  for (;;) {
    size_t space;
    uint8_t* place = frameSpace(&reader, &space);
    const ssize_t got = read(source->file, place, space);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    // A host that did leave finds nothing amiss when it is back: its greeting is answered once more.
    if (got == 0 && isPort && greetingWaits) return;
    // A port without its host reads as ended.
    if (got == 0 && isPort) {
      if (greeted || reader.have > 0) hostLeft();
      return;
    }
    if (got <= 0 || !takeFrames(&reader, (size_t)got, take)) return disconnect();
  }
  if ((events & EPOLLHUP) != 0 && greeted) hostLeft();
}

static void patienceOver(struct source* source, uint32_t events) {
  (void)events;
  uint64_t times;
  if (read(source->file, &times, sizeof times) != (ssize_t)sizeof times || !away) return;
  if (hostIsThere()) return flush();
  disconnect();
}

static void listenerReady(struct source* source, uint32_t events) {
  (void)events;
  const int connection = accept4(source->file, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (connection < 0) return;
  // The newest agent is the host's; one that is still here was cut off without a word.
  if (channel.file >= 0) {
    onDisconnect();
    forget(&channel);
    close(channel.file);
    greeted = false;
    reader.have = 0;
    outgoingUsed = 0;
  }
  channel.file = connection;
  await(&channel, EPOLLIN);
}

// Whether the machine has an address of its own between machines, which the drivers' order of loading decides before.
static bool hasVsock(void) {
  const int sockets = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
  if (sockets < 0) return false;
  unsigned address = VMADDR_CID_ANY;
  const int asked = ioctl(sockets, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &address);
  close(sockets);
  return asked == 0 && address > VMADDR_CID_HOST && address != VMADDR_CID_ANY;
}

void openChannel(void) {
  channel.ready = channelReady;
  listener.ready = listenerReady;
  channel.file = hasVsock() ? -1 : openPort("agent", -1);
  if (channel.file >= 0) {
    isPort = true;
    patience.ready = patienceOver;
    patience.file = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (patience.file < 0) fail("timerfd", "", errno);
    await(&patience, EPOLLIN);
    await(&channel, EPOLLIN | EPOLLET);
    return channelReady(&channel, EPOLLIN);
  }
  listener.file = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_port = kVsockPort, .svm_cid = VMADDR_CID_ANY};
  if (listener.file < 0 || bind(listener.file, (const struct sockaddr*)&address, sizeof address) < 0 ||
      listen(listener.file, 4) < 0) {
    return;  // a machine without a channel still runs its program
  }
  await(&listener, EPOLLIN);
}
