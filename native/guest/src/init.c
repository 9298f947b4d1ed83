// PID 1 of a virtual machine: makes the instance's world of what the host gave, runs its program, reaps, carries its
// output, serves the host's agent, reports how it ended, and switches the machine off.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "connection.h"
#include "copy.h"
#include "exec.h"
#include "loop.h"
#include "machine.h"
#include "network.h"
#include "output.h"
#include "report.h"
#include "root.h"
#include "settings.h"
#include "socket_directory.h"
#include "spawn.h"
#include "unmounting.h"
#include "usage.h"

static pid_t entrypoint = -1;
static int entrypointStatus;
static struct settings settings;

static void readSettingsDisk(void) {
  static char text[kSettingsMax];
  const int disk = openDisk("settings", O_RDONLY);
  size_t have = 0;
  for (ssize_t got; have < sizeof text && (got = read(disk, text + have, sizeof text - have)) != 0;
       have += (size_t)got) {
    if (got < 0) fail("settings", "", errno);
  }
  close(disk);
  if (!readSettings(text, have, &settings)) fail("settings", "", EINVAL);
}

static void reap(struct source* source, uint32_t events) {
  (void)events;
  struct signalfd_siginfo unused;
  while (read(source->file, &unused, sizeof unused) == (ssize_t)sizeof unused) continue;
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (pid == entrypoint) {
      entrypoint = 0;
      entrypointStatus = status;
    } else if (!execEnded(pid, status)) {
      unmountingEnded(pid, status);
    }
  }
}

static struct source children = {.ready = reap};

// Children end by this loop's knowing, and no signal of the keyboard or the power button ends PID 1.
static void openSignals(void) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  children.file = signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
  if (children.file < 0) fail("signalfd", "", errno);
}

static void startEntrypoint(void) {
  const int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (input < 0) fail("open", "/dev/null", errno);
  const struct stdio stdio = {
      .input = input, .output = openOutput(0, "stdout", 0), .error = openOutput(1, "stderr", 1)};
  struct spawn_failure failure;
  entrypoint = spawnProgram(&settings.process, &stdio, &failure);
  if (entrypoint < 0) fail(failure.step, settings.process.args[0], failure.error);
  close(input);
  outputsGiven();
  await(&children, EPOLLIN);
}

// A machine that was paused, or is a copy of one, has a clock that was not told of the time between.
static void setClock(const uint8_t* payload) {
  int64_t seconds;
  uint32_t nanoseconds;
  memcpy(&seconds, payload, sizeof seconds);
  memcpy(&nanoseconds, payload + sizeof seconds, sizeof nanoseconds);
  const struct timespec now = {.tv_sec = seconds, .tv_nsec = nanoseconds};
  // It fails only for a time that is none.
  clock_settime(CLOCK_REALTIME, &now);
}

void onFrame(const struct frame* frame, const uint8_t* payload) {
  uint32_t number;
  if (frame->type == kFrameSignal && frame->size == sizeof number) {
    memcpy(&number, payload, sizeof number);
    if (entrypoint > 0) kill(entrypoint, (int)number);
  } else if (frame->type == kFrameClock && frame->size == sizeof(int64_t) + sizeof(uint32_t)) {
    setClock(payload);
  } else if (frame->type == kFrameUsage) {
    char text[2048];
    sendFrame(kFrameUsage, frame->stream, text, readGuestUsage(text, sizeof text));
  } else if (frame->type == kFrameSockets) {
    listSockets(payload, frame->size);
  } else if (!copyFrame(frame, payload) && !connectionFrame(frame, payload) && !unmountingFrame(frame, payload)) {
    execFrame(frame, payload);
  }
}

void onDisconnect(void) {
  endCommands();
  endConnections();
}

int main(void) {
  if (getpid() != 1) {
    fprintf(stderr, "bulkhead-guest is the first process of a virtual machine\n");
    return 2;
  }
  raiseMachine();
  openReport(openDisk("report", O_WRONLY | O_DIRECT | O_SYNC));
  readSettingsDisk();
  openLoop();
  openSignals();
  openNetwork(&settings.network);
  openCopy(&settings);
  enterRoot(&settings);
  openCgroup(settings.pidsMax);
  startEntrypoint();
  openChannel();
  reportRunning();
  while (entrypoint != 0) turn(-1);
  killInstance();
  drainOutputs();
  sync();
  reportEnded(entrypointStatus, oomKills());
  powerOff();
}
