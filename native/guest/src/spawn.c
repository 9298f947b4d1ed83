#define _GNU_SOURCE
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "identity.h"
#include "machine.h"

void openCgroup(const char* pidsMax) {
  // What the guest's kernel cannot limit, the machine's own size does.
  if (writeFile("/sys/fs/cgroup/cgroup.subtree_control", "+pids", 0) < 0) return;
  if (mkdir(kInstanceCgroup, 0755) < 0 && errno != EEXIST) return;
  if (pidsMax != NULL) writeFile(kInstanceCgroup "/pids.max", pidsMax, 0);
}

void killInstance(void) {
  if (writeFile(kInstanceCgroup "/cgroup.kill", "1", 0) < 0) kill(-1, SIGKILL);
}

struct child {
  struct process* process;
  const struct stdio* stdio;
  int told;  // pipe that closes when the program runs
};

static _Noreturn void giveUp(const struct child* child, const char* step, int error) {
  struct spawn_failure failure = {.error = error};
  snprintf(failure.step, sizeof failure.step, "%s", step);
  if (write(child->told, &failure, sizeof failure) < 0) _exit(126);
  _exit(127);
}

static void connectStdio(const struct child* child) {
  const int wanted[3] = {child->stdio->input, child->stdio->output, child->stdio->error};
  for (int index = 0; index < 3; index++) {
    if (dup2(wanted[index], index) < 0) giveUp(child, "stdio", errno);
  }
  if (!child->stdio->terminal) return;
  if (ioctl(0, TIOCSCTTY, 0) < 0) giveUp(child, "terminal", errno);
}

// The variable's value in the program's environment.
static const char* valueOf(const struct process* process, const char* name) {
  const size_t length = strlen(name);
  for (size_t index = 0; index < process->envCount; index++) {
    if (strncmp(process->env[index], name, length) == 0 && process->env[index][length] == '=') {
      return process->env[index] + length + 1;
    }
  }
  return NULL;
}

static void run(struct process* process, const char* path) {
  execve(path, (char* const*)process->args, (char* const*)process->env);
}

// As execvpe(3), with the program's own PATH and without a shell for what is no program.
static int search(struct process* process) {
  const char* name = process->args[0];
  if (strchr(name, '/') != NULL) {
    run(process, name);
    return errno;
  }
  int seen = ENOENT;
  const char* places = valueOf(process, "PATH");
  for (const char* at = places == NULL ? "/usr/bin:/bin" : places;; at++) {
    const size_t length = strcspn(at, ":");
    char path[4096];
    snprintf(path, sizeof path, "%.*s%s%s", (int)length, at, length == 0 ? "" : "/", name);
    run(process, path);
    if (errno == EACCES) seen = EACCES;
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) return errno;
    at += length;
    if (*at == '\0') return seen;
  }
}

static _Noreturn void become(const struct child* child) {
  struct process* process = child->process;
  setsid();
  writeFile(kInstanceCgroup "/cgroup.procs", "0", 0);
  struct identity identity;
  if (!findIdentity(process->user, &identity)) giveUp(child, "user", ENOENT);
  for (int index = 0; index < 3; index++) {
    const int own = index == 0 ? child->stdio->input : index == 1 ? child->stdio->output : child->stdio->error;
    if (fchown(own, identity.uid, (gid_t)-1) < 0 && errno != EPERM && errno != EROFS) giveUp(child, "stdio", errno);
  }
  connectStdio(child);
  char home[300];
  if (valueOf(process, "HOME") == NULL) {
    snprintf(home, sizeof home, "HOME=%s", identity.home);
    process->env[process->envCount++] = home;
  }
  if (!becomeIdentity(&identity)) giveUp(child, "user", errno);
  if (chdir(process->cwd) < 0) giveUp(child, "working directory", errno);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  giveUp(child, "exec", search(process));
}

// A working directory that the image lacks is made, as by every container runtime.
static void makeWorkingDirectory(const char* path) {
  char part[4096];
  for (const char* at = strchr(path + 1, '/');; at = strchr(at + 1, '/')) {
    snprintf(part, sizeof part, "%.*s", at == NULL ? (int)strlen(path) : (int)(at - path), path);
    if (mkdir(part, 0755) < 0 && errno != EEXIST) return;
    if (at == NULL) return;
  }
}

pid_t spawnProgram(struct process* process, const struct stdio* stdio, struct spawn_failure* failure) {
  memset(failure, 0, sizeof *failure);
  int told[2];
  if (pipe2(told, O_CLOEXEC) < 0) {
    *failure = (struct spawn_failure){.step = "pipe", .error = errno};
    return -1;
  }
  makeWorkingDirectory(process->cwd);
  const pid_t pid = fork();
  if (pid == 0) become(&(struct child){.process = process, .stdio = stdio, .told = told[1]});
  close(told[1]);
  if (pid < 0) {
    *failure = (struct spawn_failure){.step = "fork", .error = errno};
  } else if (read(told[0], failure, sizeof *failure) == (ssize_t)sizeof *failure) {
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
  }
  close(told[0]);
  return failure->step[0] == '\0' ? pid : -1;
}
