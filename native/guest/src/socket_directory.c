#define _GNU_SOURCE
#include "socket_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "connection.h"
#include "loop.h"
#include "machine.h"
#include "offered_sockets.h"
#include "report.h"
#include "settings.h"
#include "socket_list.h"

enum { kBacklog = 64, kNobody = 65534 };

struct listener {
  struct source source;
  uint8_t directory;
  bool used;
  bool listed;
  ino_t number;
  char name[kSocketNameMax + 1];
};

static int directories[kSharesMax];
static uint8_t directoryCount;
static struct listener listeners[kSharesMax * kSocketsMax];

void openSocketDirectory(const char* wanted) {
  unsigned mode;
  unsigned uid;
  unsigned gid;
  char access[3];
  int at = 0;
  if (directoryCount == kSharesMax || sscanf(wanted, "%4o:%5u:%5u:%2[rwo]:%n", &mode, &uid, &gid, access, &at) != 4 ||
      wanted[at] != '/') {
    fail("sockets", wanted, EINVAL);
  }
  const char* path = wanted + at;
  char options[96];
  snprintf(options, sizeof options, "size=1m,nr_inodes=4096,mode=%o,uid=%u,gid=%u", mode, uid, gid);
  const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  makeDirectories(path);
  mountAt("sockets", path, "tmpfs", flags, options);
  const int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) fail("open", path, errno);
  directories[directoryCount] = directory;
  if (strcmp(access, "rw") == 0) {
    watchDirectory(directoryCount++);
    return;
  }
  directoryCount++;
  // Programs find it read-only; the host's sockets are made beneath that.
  if (mount(path, path, NULL, MS_BIND, NULL) < 0 ||
      mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL) < 0) {
    fail("mount", path, errno);
  }
}

int socketDirectoryAt(uint8_t directory) {
  return directories[directory];
}

bool isCarried(uint8_t directory, ino_t number) {
  for (size_t index = 0; index < sizeof listeners / sizeof listeners[0]; index++) {
    const struct listener* listener = &listeners[index];
    if (listener->used && listener->directory == directory && listener->number == number) return true;
  }
  return false;
}

static void heed(struct listener* listener) {
  await(&listener->source, mayConnect(listener->directory) ? EPOLLIN : 0);
}

void heedConnections(void) {
  for (size_t index = 0; index < sizeof listeners / sizeof listeners[0]; index++) {
    if (listeners[index].used) heed(&listeners[index]);
  }
}

static void callerReady(struct source* source, uint32_t events) {
  (void)events;
  struct listener* listener = (struct listener*)source;
  // One that cannot be carried waits, and is seen again when there is room.
  if (!mayConnect(listener->directory)) return heed(listener);
  const int file = accept4(source->file, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (file < 0) return;
  openConnection(file, listener->directory, listener->name);
  heedConnections();
}

// As the container has it, so that this kernel lets in whom the host's would.
static bool giveAway(int directory, const struct shared_socket* socket) {
  return fchownat(directory, socket->name, socket->uid, socket->gid, AT_SYMLINK_NOFOLLOW) == 0 &&
         fchmodat(directory, socket->name, socket->mode, 0) == 0;
}

// bind(2) and connect(2) take no directory's descriptor, and the whole path may be too long for them.
static bool nameIn(int directory, int file, const char* name, int (*call)(int, const struct sockaddr*, socklen_t)) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
  const bool done = fchdir(directory) == 0 && call(file, (const struct sockaddr*)&address, sizeof address) == 0;
  if (chdir("/") < 0) fail("chdir", "/", errno);
  return done;
}

// Whoever asks who is there (SO_PEERCRED) is told nobody, which a container's program is here, and not PID 1. The
// host's kernel has looked whether it may: files are found as root.
static void beNobody(void) {
  if (setresgid(-1, kNobody, -1) < 0 || setresuid(-1, kNobody, -1) < 0) fail("setresuid", "", errno);
  setfsuid(0);
}

static void beRoot(void) {
  if (setresuid(-1, 0, -1) < 0 || setresgid(-1, 0, -1) < 0) fail("setresuid", "", errno);
}

int connectIn(uint8_t directory, const char* name) {
  struct stat found;
  if (directory >= directoryCount) return -1;
  // One of the host's would lead back to it.
  if (fstatat(directories[directory], name, &found, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISSOCK(found.st_mode) ||
      isCarried(directory, found.st_ino)) {
    return -1;
  }
  const int file = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (file < 0) return -1;
  beNobody();
  const bool connected = nameIn(directories[directory], file, name, connect);
  beRoot();
  if (connected) return file;
  close(file);
  return -1;
}

// One that cannot be made is not there; the next list tries again.
static void listenAs(uint8_t directory, const struct shared_socket* wanted) {
  struct listener* listener = listeners;
  while (listener->used) listener++;
  const int place = directories[directory];
  const int file = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (file < 0) return;
  if (!nameIn(place, file, wanted->name, bind)) {
    close(file);
    return;
  }
  if (!giveAway(place, wanted) || listen(file, kBacklog) < 0) {
    unlinkat(place, wanted->name, 0);
    close(file);
    return;
  }
  struct stat made;
  const bool known = fstatat(place, wanted->name, &made, AT_SYMLINK_NOFOLLOW) == 0;
  *listener = (struct listener){.source = {.ready = callerReady, .file = file},
                                .directory = directory,
                                .used = true,
                                .listed = true,
                                .number = known ? made.st_ino : 0};
  snprintf(listener->name, sizeof listener->name, "%s", wanted->name);
  heed(listener);
}

static struct listener* find(uint8_t directory, const char* name) {
  for (size_t index = 0; index < sizeof listeners / sizeof listeners[0]; index++) {
    struct listener* listener = &listeners[index];
    if (listener->used && listener->directory == directory && strcmp(listener->name, name) == 0) return listener;
  }
  return NULL;
}

// A program may have put something of its own in the place.
static void end(struct listener* listener) {
  struct stat found;
  const int place = directories[listener->directory];
  if (fstatat(place, listener->name, &found, AT_SYMLINK_NOFOLLOW) == 0 && found.st_ino == listener->number) {
    unlinkat(place, listener->name, 0);
  }
  forget(&listener->source);
  close(listener->source.file);
  listener->used = false;
}

void listSockets(const uint8_t* payload, size_t size) {
  static struct socket_list list;
  if (size == 0 || payload[0] >= directoryCount) return;
  if (!readSocketList((const char*)payload + 1, size - 1, &list)) return;
  const uint8_t directory = payload[0];
  beginConnections();
  for (size_t index = 0; index < sizeof listeners / sizeof listeners[0]; index++) {
    if (listeners[index].directory == directory) listeners[index].listed = false;
  }
  for (size_t index = 0; index < list.count; index++) {
    struct listener* known = find(directory, list.sockets[index].name);
    if (known == NULL) continue;
    known->listed = giveAway(directories[directory], &list.sockets[index]);
  }
  for (size_t index = 0; index < sizeof listeners / sizeof listeners[0]; index++) {
    struct listener* listener = &listeners[index];
    if (listener->used && listener->directory == directory && !listener->listed) end(listener);
  }
  for (size_t index = 0; index < list.count; index++) {
    if (find(directory, list.sockets[index].name) == NULL) listenAs(directory, &list.sockets[index]);
  }
  heedConnections();
  offerSockets(directory);
}
