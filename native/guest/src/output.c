#define _GNU_SOURCE
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

#include "machine.h"
#include "report.h"

enum { kBuffer = 65536, kPatienceMs = 2000 };

// One of the two streams: read when its buffer is empty, written when it is not.
struct output {
  struct source from;
  struct source to;
  char buffer[kBuffer];
  size_t at;
  size_t used;
  int given;
};

static struct output outputs[2];

// Writes what it can; without a host's side the bytes are dropped, as a closed terminal's are.
static void push(struct output* output) {
  while (output->at < output->used) {
    const ssize_t wrote = output->to.file < 0
                              ? (ssize_t)output->used
                              : write(output->to.file, output->buffer + output->at, output->used - output->at);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) break;
    output->at += (size_t)wrote;
  }
  const int waiting = output->at < output->used;
  if (output->to.file >= 0) await(&output->to, waiting ? EPOLLOUT : 0);
  if (output->from.file >= 0) await(&output->from, waiting ? 0 : EPOLLIN);
}

static void toReady(struct source* source, uint32_t events) {
  if ((events & EPOLLOUT) == 0) return;
  push((struct output*)((char*)source - offsetof(struct output, to)));
}

static void fromReady(struct source* source, uint32_t events) {
  (void)events;
  struct output* output = (struct output*)((char*)source - offsetof(struct output, from));
  if (output->at < output->used) return;
  const ssize_t got = read(source->file, output->buffer, kBuffer);
  if (got < 0) return;
  if (got == 0) {
    forget(source);
    close(source->file);
    source->file = -1;
    return;
  }
  output->at = 0;
  output->used = (size_t)got;
  push(output);
}

int openOutput(int which, const char* name, int console) {
  struct output* output = &outputs[which];
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) fail("pipe", name, errno);
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  output->from = (struct source){.ready = fromReady, .file = ends[0]};
  output->to = (struct source){.ready = toReady, .file = openPort(name, console)};
  output->given = ends[1];
  await(&output->from, EPOLLIN);
  return ends[1];
}

void outputsGiven(void) {
  for (int index = 0; index < 2; index++) close(outputs[index].given);
}

static int isBusy(void) {
  for (int index = 0; index < 2; index++) {
    if (outputs[index].from.file >= 0 || outputs[index].at < outputs[index].used) return 1;
  }
  return 0;
}

// What is on its way waits for the host, however long it takes.
static int isWaiting(void) {
  for (int index = 0; index < 2; index++) {
    if (outputs[index].at < outputs[index].used) return 1;
  }
  return 0;
}

void drainOutputs(void) {
  // Every process is gone, so this ends as soon as the host has taken what they said.
  for (int idle = 0; isBusy() && idle < kPatienceMs; idle += isWaiting() ? 0 : 10) turn(10);
  for (int index = 0; index < 2; index++) {
    if (outputs[index].to.file >= 0) tcdrain(outputs[index].to.file);
  }
}
