#define _GNU_SOURCE
#include "offered_sockets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"
#include "loop.h"
#include "report.h"
#include "settings.h"
#include "socket_directory.h"
#include "socket_list.h"

enum { kWordMax = 24 + kSocketNameMax };

static struct source changes = {.file = -1};
static int watches[kSharesMax];
static bool watched[kSharesMax];
// The list that the host has of each, as it was sent.
static char told[kSharesMax][1 + kSocketsMax * kWordMax];
static size_t toldSize[kSharesMax];

static void changesReady(struct source* source, uint32_t events) {
  (void)events;
  // With room for one event at least, inotify(7).
  _Alignas(struct inotify_event) char bytes[4096];
  bool changed[kSharesMax] = {false};
  for (ssize_t got; (got = read(source->file, bytes, sizeof bytes)) > 0;) {
    for (ssize_t at = 0; at < got;) {
      struct inotify_event event;
      memcpy(&event, bytes + at, sizeof event);
      at += (ssize_t)(sizeof event + event.len);
      for (uint8_t index = 0; index < kSharesMax; index++) {
        // An overflow tells of none, and means any.
        changed[index] |= watched[index] && (watches[index] == event.wd || event.wd < 0);
      }
    }
  }
  for (uint8_t index = 0; index < kSharesMax; index++) {
    if (changed[index]) offerSockets(index);
  }
}

void watchDirectory(uint8_t directory) {
  if (changes.file < 0) {
    changes = (struct source){.ready = changesReady, .file = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
    if (changes.file < 0) fail("inotify", "", errno);
    await(&changes, EPOLLIN);
  }
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", socketDirectoryAt(directory));
  const uint32_t any = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB;
  watches[directory] = inotify_add_watch(changes.file, path, any);
  if (watches[directory] < 0) fail("inotify", path, errno);
  watched[directory] = true;
}

// Appends the word of a name that leads to a socket of a program's; nothing for any other.
static size_t append(uint8_t directory, const char* name, char* text, size_t room) {
  struct stat file;
  if (strlen(name) > kSocketNameMax) return 0;
  if (fstatat(socketDirectoryAt(directory), name, &file, AT_SYMLINK_NOFOLLOW) < 0) return 0;
  if (!S_ISSOCK(file.st_mode) || isCarried(directory, file.st_ino)) return 0;
  const int length =
      snprintf(text, room, "%o:%u:%u:%s", (unsigned)(file.st_mode & 0777), file.st_uid, file.st_gid, name);
  return length < 0 || (size_t)length >= room ? 0 : (size_t)length + 1;
}

void offerSockets(uint8_t directory) {
  static char list[sizeof told[0]];
  if (!watched[directory]) return;
  const int again = openat(socketDirectoryAt(directory), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* entries = again < 0 ? NULL : fdopendir(again);
  if (entries == NULL) {
    if (again >= 0) close(again);
    return;
  }
  list[0] = (char)directory;
  size_t size = 1;
  size_t count = 0;
  for (const struct dirent* entry; count < kSocketsMax && (entry = readdir(entries)) != NULL;) {
    const size_t more = append(directory, entry->d_name, list + size, sizeof list - size);
    count += more > 0;
    size += more;
  }
  closedir(entries);
  if (size == toldSize[directory] && memcmp(list, told[directory], size) == 0) return;
  memcpy(told[directory], list, size);
  toldSize[directory] = size;
  sendFrame(kFrameOffered, 0, list, size);
}

void forgetOffers(void) {
  memset(toldSize, 0, sizeof toldSize);
}
