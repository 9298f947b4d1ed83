#include "loop.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>

#include "report.h"

enum { kEvents = 64 };

static int loop = -1;
static struct epoll_event due[kEvents];
static int dueCount;

void openLoop(void) {
  loop = epoll_create1(EPOLL_CLOEXEC);
  if (loop < 0) fail("epoll", "", errno);
}

void await(struct source* source, uint32_t events) {
  source->wanted = events;
  struct epoll_event event = {.events = events, .data.ptr = source};
  if (epoll_ctl(loop, EPOLL_CTL_MOD, source->file, &event) == 0) return;
  if (epoll_ctl(loop, EPOLL_CTL_ADD, source->file, &event) < 0) fail("epoll", "", errno);
}

void forget(struct source* source) {
  epoll_ctl(loop, EPOLL_CTL_DEL, source->file, NULL);
  for (int index = 0; index < dueCount; index++) {
    if (due[index].data.ptr == source) due[index].data.ptr = NULL;
  }
}

void turn(int timeoutMs) {
  dueCount = epoll_wait(loop, due, kEvents, timeoutMs);
  for (int index = 0; index < dueCount; index++) {
    struct source* source = due[index].data.ptr;
    if (source != NULL) source->ready(source, due[index].events);
  }
  dueCount = 0;
}
