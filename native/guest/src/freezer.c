#define _GNU_SOURCE
#include "freezer.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"
#include "spawn.h"

// PF_KTHREAD of the kernel's include/linux/sched.h, in the flags of /proc/PID/stat (proc_pid_stat(5)).
enum { kKernelThread = 0x00200000 };

static bool frozen;

bool isFrozen(void) {
  return frozen;
}

// True when the kernel says that each of them stands still (Documentation/admin-guide/cgroup-v2.rst, cgroup.events).
static bool isStill(void) {
  FILE* events = fopen(kInstanceCgroup "/cgroup.events", "re");
  int still = 0;
  for (char line[64]; events != NULL && fgets(line, sizeof line, events) != NULL;) {
    if (sscanf(line, "frozen %d", &still) == 1) break;
  }
  if (events != NULL) fclose(events);
  return still == 1;
}

// Whether it is a process of the kernel's own. The name before the flags is whatever the process says, with brackets.
static bool isKernels(const char* pid) {
  char path[300];
  char text[512];
  snprintf(path, sizeof path, "/proc/%s/stat", pid);
  FILE* file = fopen(path, "re");
  const size_t got = file == NULL ? 0 : fread(text, 1, sizeof text - 1, file);
  if (file != NULL) fclose(file);
  text[got] = '\0';
  const char* after = strrchr(text, ')');
  unsigned flags = 0;
  return after != NULL && sscanf(after, ") %*c %*d %*d %*d %*d %*d %u", &flags) == 1 && (flags & kKernelThread) != 0;
}

// Whether it is in the instance's cgroup or below; one that has ended is as good.
static bool isInside(const char* pid) {
  char path[300];
  snprintf(path, sizeof path, "/proc/%s/cgroup", pid);
  FILE* file = fopen(path, "re");
  if (file == NULL) return true;
  bool inside = false;
  for (char line[4200]; fgets(line, sizeof line, file) != NULL;) {
    const char* below = "0::" kInstanceCgroupName;
    const size_t length = strlen(below);
    if (strncmp(line, below, length) == 0 && (line[length] == '\n' || line[length] == '/')) inside = true;
  }
  fclose(file);
  return inside;
}

// Root in the machine can move a process out of the cgroup, where it would go on.
static bool hasStrays(void) {
  DIR* processes = opendir("/proc");
  if (processes == NULL) return true;
  bool strays = false;
  for (const struct dirent* entry; !strays && (entry = readdir(processes)) != NULL;) {
    if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name) || strcmp(entry->d_name, "1") == 0) continue;
    strays = !isInside(entry->d_name) && !isKernels(entry->d_name);
  }
  closedir(processes);
  return strays;
}

int freezeInstance(void) {
  if (frozen) return 0;
  if (writeFile(kInstanceCgroup "/cgroup.freeze", "1", 0) < 0) return ENOTSUP;
  int error = 0;
  for (int round = 0; !isStill() && error == 0; round++) {
    if (round == kPatienceRounds) error = ETIMEDOUT;
    waitRound();
  }
  if (error == 0 && hasStrays()) error = EBUSY;
  if (error != 0) {
    writeFile(kInstanceCgroup "/cgroup.freeze", "0", 0);
    return error;
  }
  frozen = true;
  sync();
  return 0;
}

int thawInstance(void) {
  if (writeFile(kInstanceCgroup "/cgroup.freeze", "0", 0) < 0) return errno;
  frozen = false;
  return 0;
}
