/*
 * look: root of the container, watches every process that appears beside it (a runtime that joins to run a command)
 * and tries whatever would give it that process's power. Prints one line for each success, and at SIGTERM how many
 * processes it saw and tried.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t ended;
static void on_term(int signal) {
  (void)signal;
  ended = 1;
}

static long tries;
static long seen;

/* A process that is still the runtime's has no command line of the container's. */
static int is_ours(int pid) {
  char path[64];
  char text[256] = {0};
  snprintf(path, sizeof path, "/proc/%d/comm", pid);
  int fd = open(path, O_RDONLY);
  if (fd < 0) return 1;
  ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  /* The runtime executes itself from a descriptor, so its name is a number, or its own. */
  return size <= 0 || (strspn(text, "0123456789\n") != (size_t)size && strncmp(text, "bulkhead", 8) != 0);
}

static void attack(int pid) {
  char path[64];
  ++tries;
  if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
    if (!is_ours(pid)) printf("ptrace %d\n", pid);
    ptrace(PTRACE_DETACH, pid, 0, 0);
  }
  static const char *const files[] = {"exe", "mem", "cwd", "root", "fd/3", "fd/4", "fd/5", "fd/6", "fd/7", "fd/8"};
  for (unsigned at = 0; at < sizeof files / sizeof *files; ++at) {
    snprintf(path, sizeof path, "/proc/%d/%s", pid, files[at]);
    int fd = open(path, at < 2 ? O_WRONLY : O_PATH);
    if (fd < 0) continue;
    if (!is_ours(pid)) printf("%s\n", path);
    close(fd);
  }
  long pidfd = syscall(SYS_pidfd_open, pid, 0);
  if (pidfd < 0) return;
  for (int fd = 0; fd < 16; ++fd) {
    long stolen = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
    if (stolen < 0) continue;
    if (!is_ours(pid)) printf("pidfd_getfd %d of %d\n", fd, pid);
    close((int)stolen);
  }
  close((int)pidfd);
}

int main(void) {
  signal(SIGTERM, on_term);
  signal(SIGHUP, on_term);
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("ready\n");
  int last = 0;
  while (!ended) {
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc != NULL && (entry = readdir(proc)) != NULL;) {
      int pid = atoi(entry->d_name);
      if (pid <= 1 || pid == getpid()) continue;
      if (pid > last) {
        last = pid;
        ++seen;
      }
      attack(pid);
    }
    if (proc != NULL) closedir(proc);
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
  }
  printf("seen %ld tried %ld\n", seen, tries);
  return 0;
}
