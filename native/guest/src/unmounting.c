#define _GNU_SOURCE
#include "unmounting.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "machine.h"
#include "settings.h"

struct unmounting {
  pid_t pid;
  uint16_t stream;
};

static struct unmounting under[kSharesMax];

// Whether one of the links in a directory of /proc leads to a file of this file system.
static bool anyLeadsTo(const char* directory, dev_t device) {
  DIR* entries = opendir(directory);
  bool found = false;
  for (const struct dirent* entry; entries != NULL && !found && (entry = readdir(entries)) != NULL;) {
    struct stat file;
    // `.` and `..` are of /proc itself.
    found = fstatat(dirfd(entries), entry->d_name, &file, 0) == 0 && file.st_dev == device;
  }
  if (entries != NULL) closedir(entries);
  return found;
}

// Has a file of it open or mapped, or works or was run from there.
static bool holds(const char* process, dev_t device) {
  static const char* const links[] = {"cwd", "root", "exe"};
  char path[300];
  struct stat file;
  for (size_t index = 0; index < sizeof links / sizeof links[0]; index++) {
    snprintf(path, sizeof path, "/proc/%s/%s", process, links[index]);
    if (stat(path, &file) == 0 && file.st_dev == device) return true;
  }
  snprintf(path, sizeof path, "/proc/%s/fd", process);
  if (anyLeadsTo(path, device)) return true;
  snprintf(path, sizeof path, "/proc/%s/map_files", process);
  return anyLeadsTo(path, device);
}

// Ends them; how many there were.
static int endHolders(dev_t device) {
  int count = 0;
  DIR* processes = opendir("/proc");
  for (const struct dirent* entry; processes != NULL && (entry = readdir(processes)) != NULL;) {
    const pid_t pid = atoi(entry->d_name);
    if (pid <= 1 || pid == getpid() || !holds(entry->d_name, device)) continue;
    kill(pid, SIGKILL);
    count++;
  }
  if (processes != NULL) closedir(processes);
  return count;
}

// Nobody finds it by its path any more, and then nobody has it: the host is about to serve it to nobody, and who read
// or wrote it would wait for ever, as no signal ends that.
static int takeAway(const char* path) {
  struct stat root;
  if (stat(path, &root) < 0) return errno;
  if (umount2(path, MNT_DETACH) < 0) return errno;
  // A directory of sockets lies there twice, and programs may have put anything above a share.
  while (umount2(path, MNT_DETACH) == 0) continue;
  for (int round = 0; round < kPatienceRounds; round++) {
    if (endHolders(root.st_dev) == 0) return round == 0 ? 0 : EBUSY;
    waitRound();
  }
  return ETIMEDOUT;
}

static void answer(uint16_t stream, int error) {
  const int32_t told = error;
  sendFrame(kFrameUnmount, stream, &told, sizeof told);
}

static int begin(const struct frame* frame, const uint8_t* payload) {
  char path[PATH_MAX];
  struct unmounting* place = under;
  while (place < under + kSharesMax && place->pid != 0) place++;
  if (place == under + kSharesMax) return EAGAIN;
  if (frame->size == 0 || frame->size >= sizeof path) return EINVAL;
  memcpy(path, payload, frame->size);
  path[frame->size] = '\0';
  const pid_t pid = fork();
  if (pid < 0) return errno;
  if (pid == 0) _exit(takeAway(path));
  *place = (struct unmounting){.pid = pid, .stream = frame->stream};
  return 0;
}

bool unmountingFrame(const struct frame* frame, const uint8_t* payload) {
  if (frame->type != kFrameUnmount) return false;
  const int error = begin(frame, payload);
  if (error != 0) answer(frame->stream, error);
  return true;
}

bool unmountingEnded(pid_t pid, int waitStatus) {
  for (int index = 0; index < kSharesMax; index++) {
    if (under[index].pid != pid) continue;
    under[index].pid = 0;
    answer(under[index].stream, WIFEXITED(waitStatus) ? WEXITSTATUS(waitStatus) : EIO);
    return true;
  }
  return false;
}
