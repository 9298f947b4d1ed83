#define _GNU_SOURCE
#include "machine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

enum { kRoundNs = 10 * 1000 * 1000 };

void waitRound(void) {
  const struct timespec round = {.tv_nsec = kRoundNs};
  nanosleep(&round, NULL);
}

void makeDirectory(const char* path) {
  if (mkdir(path, 0755) < 0 && errno != EEXIST) fail("mkdir", path, errno);
}

void makeDirectories(const char* path) {
  char part[PATH_MAX];
  snprintf(part, sizeof part, "%s", path);
  for (char* slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    makeDirectory(part);
    *slash = '/';
  }
  makeDirectory(part);
}

void mountAt(const char* source, const char* target, const char* type, unsigned long flags, const char* data) {
  if (mkdir(target, 0755) < 0 && errno != EEXIST && errno != EROFS) fail("mkdir", target, errno);
  if (mount(source, target, type, flags, data) < 0) fail("mount", target, errno);
}

static void loadModule(const char* path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) fail("open", path, errno);
  if (syscall(SYS_finit_module, file, "", 0) < 0 && errno != EEXIST) fail("module", path, errno);
  close(file);
}

static int isModule(const struct dirent* entry) {
  return entry->d_name[0] != '.';
}

void raiseMachine(void) {
  mountAt("dev", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
  mountAt("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mountAt("sys", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  struct dirent** names;
  const int count = scandir("/modules", &names, isModule, alphasort);
  for (int index = 0; index < count; index++) {
    char path[300];
    snprintf(path, sizeof path, "/modules/%s", names[index]->d_name);
    loadModule(path);
  }
}

// Content of a small file of the kernel's, without the line's end; empty when there is none.
static void readLine(const char* path, char* text, size_t size) {
  text[0] = '\0';
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  const ssize_t got = read(file, text, size - 1);
  close(file);
  text[got < 0 ? 0 : got] = '\0';
  text[strcspn(text, "\n")] = '\0';
}

// Finds the entry of `directory` whose file `attribute` says `name`; its name in `found`.
static int findNamed(const char* directory, const char* attribute, const char* name, char found[40]) {
  DIR* entries = opendir(directory);
  if (entries == NULL) return -1;
  int result = -1;
  for (const struct dirent* entry; result < 0 && (entry = readdir(entries)) != NULL;) {
    char path[400];
    char text[64];
    snprintf(path, sizeof path, "%s/%s/%s", directory, entry->d_name, attribute);
    readLine(path, text, sizeof text);
    if (strcmp(text, name) != 0) continue;
    snprintf(found, 40, "%.39s", entry->d_name);
    result = 0;
  }
  closedir(entries);
  return result;
}

void findDisk(const char* name, char path[64]) {
  char found[40];
  for (int round = 0; findNamed("/sys/block", "serial", name, found) < 0; round++) {
    if (round == kPatienceRounds) fail("disk", name, ENODEV);
    waitRound();
  }
  snprintf(path, 64, "/dev/%s", found);
}

int openDisk(const char* name, int flags) {
  char path[64];
  findDisk(name, path);
  const int disk = open(path, flags | O_CLOEXEC);
  if (disk < 0) fail("open", path, errno);
  return disk;
}

// Bytes through a console's terminal are the bytes that were written.
static int rawConsole(int console) {
  char path[32];
  snprintf(path, sizeof path, "/dev/hvc%d", console);
  const int file = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return -1;
  struct termios mode;
  if (tcgetattr(file, &mode) == 0) {
    cfmakeraw(&mode);
    tcsetattr(file, TCSANOW, &mode);
  }
  return file;
}

int openPort(const char* name, int console) {
  char found[40];
  for (int round = 0; access("/sys/class/virtio-ports", F_OK) == 0 && round < kPatienceRounds; round++) {
    if (findNamed("/sys/class/virtio-ports", "name", name, found) == 0) {
      char path[64];
      snprintf(path, sizeof path, "/dev/%s", found);
      const int port = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
      if (port >= 0) return port;
    }
    if (access("/dev/hvc0", F_OK) == 0 && access("/dev/vport0p1", F_OK) != 0) break;
    waitRound();
  }
  return rawConsole(console);
}

uint32_t oomKills(void) {
  FILE* counters = fopen("/proc/vmstat", "re");
  unsigned count = 0;
  for (char line[128]; counters != NULL && fgets(line, sizeof line, counters) != NULL;) {
    if (sscanf(line, "oom_kill %u", &count) == 1) break;
  }
  if (counters != NULL) fclose(counters);
  return count;
}

int writeFile(const char* path, const char* text, int flags) {
  const int file = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);
  if (file < 0) return -1;
  const size_t length = strlen(text);
  const ssize_t wrote = write(file, text, length);
  const int error = wrote == (ssize_t)length ? 0 : errno;
  close(file);
  errno = error;
  return error == 0 ? 0 : -1;
}
