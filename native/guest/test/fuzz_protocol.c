// Any bytes as what the host says: frames that are whole however the stream is cut, and settings and lists of sockets
// that lie in their text.
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "settings.h"
#include "socket_list.h"

static void require(bool held) {
  if (!held) abort();
}

// Of all frames and payloads that were taken: equal streams have equal ones.
static uint64_t digest;
static struct frame_reader reader;

static void mix(const void* bytes, size_t size) {
  for (size_t index = 0; index < size; ++index) digest = (digest ^ ((const uint8_t*)bytes)[index]) * 1099511628211u;
}

static void take(const struct frame* frame, const uint8_t* payload) {
  require(frame->size <= kPayloadMax);
  require(payload >= reader.bytes && payload + frame->size <= reader.bytes + sizeof reader.bytes);
  mix(frame, sizeof *frame);
  mix(payload, frame->size);
}

// Feeds the stream in pieces of at most so many bytes; false when it was refused.
static bool feed(const uint8_t* data, size_t size, size_t most) {
  digest = 14695981039346656037u;
  reader.have = 0;
  for (size_t at = 0; at < size;) {
    size_t space;
    uint8_t* place = frameSpace(&reader, &space);
    // There is always room for more, or a frame would never become whole.
    require(space > 0);
    size_t here = size - at < most ? size - at : most;
    if (here > space) here = space;
    memcpy(place, data + at, here);
    at += here;
    if (!takeFrames(&reader, here, take)) return false;
    require(reader.have < kFrameHeader + kPayloadMax);
  }
  return true;
}

static void requireWithin(const char* word, const char* text, size_t size) {
  if (word != NULL) require(word >= text && word < text + size);
}

static void requireProcess(const struct process* process, const char* text, size_t size) {
  require(process->argCount > 0 && process->argCount <= kWordsMax && process->envCount <= kWordsMax);
  require(process->args[process->argCount] == NULL && process->env[process->envCount] == NULL);
  for (size_t index = 0; index < process->argCount; ++index) requireWithin(process->args[index], text, size);
  for (size_t index = 0; index < process->envCount; ++index) requireWithin(process->env[index], text, size);
  requireWithin(process->cwd, text, size);
  requireWithin(process->user, text, size);
}

static void readText(const uint8_t* data, size_t size) {
  static struct settings settings;
  static struct process process;
  // Of exactly this size, so that a byte beyond it is found.
  char* text = malloc(size == 0 ? 1 : size);
  if (size > 0) memcpy(text, data, size);
  if (readSettings(text, size, &settings)) {
    requireProcess(&settings.process, text, size);
    requireWithin(settings.hostname, text, size);
    require(settings.tmpfsCount <= kTmpfsMax && settings.network.addressCount <= kAddressesMax);
    require(settings.shareCount <= kSharesMax);
    for (size_t index = 0; index < settings.shareCount; ++index) requireWithin(settings.shares[index], text, size);
    require(settings.network.gatewayCount <= kAddressesMax);
    require(settings.socketDirectoryCount <= kSharesMax);
  }
  if (readProcess(text, size, &process)) requireProcess(&process, text, size);
  if (readIdentity(text, size, &settings)) {
    requireWithin(settings.hostname, text, size);
    requireWithin(settings.machineId, text, size);
    requireWithin(settings.network.mac, text, size);
    require(settings.process.argCount == 0 && settings.tmpfsCount == 0);
    require(settings.network.addressCount <= kAddressesMax && settings.network.gatewayCount <= kAddressesMax);
  }
  free(text);
}

static void readList(const uint8_t* data, size_t size) {
  static struct socket_list list;
  char* text = malloc(size == 0 ? 1 : size);
  if (size > 0) memcpy(text, data, size);
  if (readSocketList(text, size, &list)) {
    require(list.count <= kSocketsMax);
    for (size_t index = 0; index < list.count; ++index) {
      const char* name = list.sockets[index].name;
      requireWithin(name, text, size);
      require(name[0] != '\0' && strlen(name) <= kSocketNameMax && strchr(name, '/') == NULL);
      require(list.sockets[index].mode <= 07777);
    }
  }
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const bool whole = feed(data + 1, size - 1, SIZE_MAX);
  const uint64_t wholeDigest = digest;
  require(feed(data + 1, size - 1, 1 + data[0] % 13) == whole);
  // What came before a frame that is refused may have been taken, or not, by how the stream was cut.
  if (whole) require(digest == wholeDigest);
  readText(data + 1, size - 1);
  readList(data + 1, size - 1);
  return 0;
}
