#define _GNU_SOURCE
#include "connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"
#include "loop.h"
#include "offered_sockets.h"
#include "socket_directory.h"
#include "socket_list.h"

// Those that programs here begin, of all directories and of one, and those that the host's begin;
// packages/kvm/src/sockets/guest-sockets.ts holds to the same.
enum { kBegunMax = 64, kBegunOfOne = 32, kReachedMax = 32, kConnectionsMax = kBegunMax + kReachedMax, kChunk = 16384 };

struct connection {
  struct source source;  // its file is -1 once the program's end is closed
  uint8_t* bytes;        // of the host's that the program has not read yet
  size_t used;
  size_t window;  // bytes that the host still takes
  uint16_t stream;
  uint8_t directory;
  bool open;
  bool ended;     // the host's side says no more
  bool finished;  // the program says no more, or nobody would hear it
  bool left;      // the host is done with the stream
};

enum { kAny = -1 };

static struct connection connections[kConnectionsMax];
static uint16_t lastStream = kGuestStreams;
static bool carried;

void beginConnections(void) {
  carried = true;
}

// How many are open that the host's programs began, or this machine's; of one directory, or of all.
static int countOf(bool reached, int directory) {
  int count = 0;
  for (int index = 0; index < kConnectionsMax; index++) {
    const struct connection* connection = &connections[index];
    if (!connection->open || (connection->stream < kGuestStreams) != reached) continue;
    count += directory == kAny || connection->directory == directory;
  }
  return count;
}

bool mayConnect(uint8_t directory) {
  return carried && countOf(false, kAny) < kBegunMax && countOf(false, directory) < kBegunOfOne;
}

static void closeFile(struct connection* connection) {
  if (connection->source.file < 0) return;
  forget(&connection->source);
  close(connection->source.file);
  connection->source.file = -1;
  free(connection->bytes);
  connection->bytes = NULL;
  connection->used = 0;
}

// The program's end is done with. A stream is free again when the host is done with it, too: no number means two.
static void leave(struct connection* connection) {
  if (connection->source.file >= 0) {
    closeFile(connection);
    sendFrame(kFrameClose, connection->stream, NULL, 0);
  }
  if (!connection->left) return;
  connection->open = false;
  heedConnections();
}

static void sayTaken(const struct connection* connection, size_t size) {
  const uint32_t taken = (uint32_t)size;
  sendFrame(kFrameTaken, connection->stream, &taken, sizeof taken);
}

static void settle(struct connection* connection) {
  if (connection->finished && connection->ended && connection->used == 0) return leave(connection);
  await(&connection->source,
        (!connection->finished && connection->window > 0 ? EPOLLIN : 0) | (connection->used > 0 ? EPOLLOUT : 0));
}

// Gives the program what it takes. False: it reads no more.
static bool give(struct connection* connection) {
  while (connection->used > 0) {
    const ssize_t wrote = send(connection->source.file, connection->bytes, connection->used, MSG_NOSIGNAL);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0 && errno == EAGAIN) return true;
    if (wrote < 0) return false;
    connection->used -= (size_t)wrote;
    memmove(connection->bytes, connection->bytes + wrote, connection->used);
    sayTaken(connection, (size_t)wrote);
  }
  if (connection->ended) shutdown(connection->source.file, SHUT_WR);
  return true;
}

// Takes what the program said. False: there is nothing more to hear of it.
static bool hear(struct connection* connection) {
  uint8_t chunk[kChunk];
  const size_t most = connection->window < kChunk ? connection->window : kChunk;
  const ssize_t got = read(connection->source.file, chunk, most);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  sendFrame(kFrameOutput, connection->stream, chunk, (size_t)got);
  connection->window -= (size_t)got;
  connection->finished = got == 0;
  return true;
}

static void connectionReady(struct source* source, uint32_t events) {
  struct connection* connection = (struct connection*)source;
  const bool hungUp = (events & (EPOLLHUP | EPOLLERR)) != 0;
  if ((events & EPOLLOUT) != 0 && !give(connection)) {
    // What it still said before it went away is heard to its end.
    if (connection->finished) return leave(connection);
    sayTaken(connection, connection->used);
    connection->used = 0;
    connection->ended = true;
  }
  if (connection->finished) {
    if (hungUp) return leave(connection);
  } else if (connection->window == 0) {
    // The loop would be told of it again and again; it is looked at when the host takes more.
    if (hungUp && connection->used == 0) return forget(source);
  } else if ((events & EPOLLIN) != 0 || hungUp) {
    if (!hear(connection)) return leave(connection);
  }
  settle(connection);
}

static struct connection* find(uint16_t stream) {
  for (int index = 0; index < kConnectionsMax; index++) {
    if (connections[index].open && connections[index].stream == stream) return &connections[index];
  }
  return NULL;
}

// Numbers go round, and those in use are passed over.
static uint16_t newStream(void) {
  do {
    lastStream = lastStream == UINT16_MAX ? kGuestStreams : (uint16_t)(lastStream + 1);
  } while (find(lastStream) != NULL);
  return lastStream;
}

// There is room: each kind has its own.
static struct connection* keep(int file, uint8_t directory, uint16_t stream) {
  struct connection* connection = connections;
  while (connection->open) connection++;
  *connection = (struct connection){.source = {.ready = connectionReady, .file = file},
                                    .window = kWindow,
                                    .stream = stream,
                                    .directory = directory,
                                    .open = true};
  return connection;
}

void openConnection(int file, uint8_t directory, const char* name) {
  struct connection* connection = keep(file, directory, newStream());
  uint8_t payload[1 + kSocketNameMax];
  const size_t length = strlen(name);
  payload[0] = directory;
  memcpy(payload + 1, name, length);
  sendFrame(kFrameConnect, connection->stream, payload, 1 + length);
  settle(connection);
}

// A container's program connects to one of this machine's.
static void reach(const struct frame* frame, const uint8_t* payload) {
  char name[kSocketNameMax + 1] = "";
  const size_t length = frame->size - 1;
  int file = -1;
  const bool mayReach = frame->stream < kGuestStreams && countOf(true, kAny) < kReachedMax;
  if (mayReach && frame->size > 1 && length <= kSocketNameMax && memchr(payload + 1, '/', length) == NULL) {
    memcpy(name, payload + 1, length);
    file = connectIn(payload[0], name);
  }
  if (file >= 0) return settle(keep(file, payload[0], frame->stream));
  sendFrame(kFrameClose, frame->stream, NULL, 0);
}

static void takeInput(struct connection* connection, const uint8_t* payload, size_t size) {
  if (connection->ended || connection->used + size > kWindow) return sayTaken(connection, size);
  if (size == 0) connection->ended = true;
  if (size > 0 && connection->bytes == NULL) connection->bytes = malloc(kWindow);
  if (size > 0 && connection->bytes == NULL) return leave(connection);
  if (size > 0) memcpy(connection->bytes + connection->used, payload, size);
  connection->used += size;
  // One that does not read any more is told apart when the loop comes to it.
  give(connection);
  settle(connection);
}

static void takeFrame(struct connection* connection, const struct frame* frame, const uint8_t* payload) {
  uint32_t taken;
  switch (frame->type) {
    case kFrameInput:
      return takeInput(connection, payload, frame->size);
    case kFrameTaken:
      if (frame->size != sizeof taken) return;
      memcpy(&taken, payload, sizeof taken);
      connection->window = taken > kWindow - connection->window ? kWindow : connection->window + taken;
      return settle(connection);
    case kFrameClose:
      // What is here already is the program's; nobody hears what it says.
      connection->left = connection->ended = connection->finished = true;
      give(connection);
      return settle(connection);
    default:
      return;
  }
}

bool connectionFrame(const struct frame* frame, const uint8_t* payload) {
  struct connection* connection = find(frame->stream);
  if (connection == NULL && frame->type == kFrameConnect) {
    reach(frame, payload);
    return true;
  }
  if (connection == NULL) return false;
  if (connection->source.file >= 0) {
    takeFrame(connection, frame, payload);
  } else if (frame->type == kFrameClose) {
    connection->left = true;
    leave(connection);
  }
  return true;
}

void endConnections(void) {
  carried = false;
  forgetOffers();
  for (int index = 0; index < kConnectionsMax; index++) {
    if (connections[index].open) closeFile(&connections[index]);
    connections[index].open = false;
  }
  heedConnections();
}
