#define _GNU_SOURCE
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "channel.h"
#include "freezer.h"
#include "network.h"
#include "report.h"
#include "root.h"

static int pool = -1;
static struct network present;
// What `present` points into, and where the next one is read; they change places.
static char texts[2][kPayloadMax];
static int next;

void openCopy(const struct settings* settings) {
  present = settings->network;
  // Now, while its name is not the instance's to change.
  pool = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
  if (pool < 0) fail("open", "/dev/urandom", errno);
}

// All copies have the pool of the machine that was copied, and would draw the same numbers from it.
static void addEntropy(const uint8_t* bytes) {
  struct {
    struct rand_pool_info info;
    uint8_t bytes[kEntropyBytes];
  } given = {.info = {.entropy_count = 8 * kEntropyBytes, .buf_size = kEntropyBytes}};
  memcpy(given.info.buf, bytes, kEntropyBytes);
  if (ioctl(pool, RNDADDENTROPY, &given) < 0) fail("entropy", "", errno);
  // Every processor draws from a generator of its own, which are made anew from the pool.
  if (ioctl(pool, RNDRESEEDCRNG, NULL) < 0) fail("reseed", "", errno);
}

static void answer(const struct frame* frame, int error) {
  const int32_t told = error;
  sendFrame((enum frame_type)frame->type, frame->stream, &told, sizeof told);
}

// What cannot be done ends the machine: no process of it goes on as somebody else.
static int become(const uint8_t* payload, size_t size) {
  static struct settings settings;
  if (!isFrozen()) return EBUSY;
  if (size < kEntropyBytes) return EINVAL;
  char* text = texts[next];
  memcpy(text, payload + kEntropyBytes, size - kEntropyBytes);
  if (!readIdentity(text, size - kEntropyBytes, &settings)) return EINVAL;
  if ((settings.network.mac == NULL) != (present.mac == NULL)) return EINVAL;
  addEntropy(payload);
  provideIdentity(&settings);
  renewNetwork(&present, &settings.network);
  present = settings.network;
  next = 1 - next;
  // The report's disk is another one too.
  reportRunning();
  return 0;
}

bool copyFrame(const struct frame* frame, const uint8_t* payload) {
  switch (frame->type) {
    case kFrameFreeze:
      answer(frame, freezeInstance());
      return true;
    case kFrameThaw:
      answer(frame, thawInstance());
      return true;
    case kFrameBecome:
      answer(frame, become(payload, frame->size));
      return true;
    default:
      return false;
  }
}
