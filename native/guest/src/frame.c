#include "frame.h"

#include <string.h>

bool takeFrames(struct frame_reader* reader, size_t got,
                void (*take)(const struct frame* frame, const uint8_t* payload)) {
  reader->have += got;
  size_t at = 0;
  while (reader->have - at >= kFrameHeader) {
    struct frame frame;
    memcpy(&frame, reader->bytes + at, sizeof frame);
    if (frame.size > kPayloadMax) return false;
    if (reader->have - at < kFrameHeader + frame.size) break;
    take(&frame, reader->bytes + at + kFrameHeader);
    at += kFrameHeader + frame.size;
  }
  reader->have -= at;
  memmove(reader->bytes, reader->bytes + at, reader->have);
  return true;
}
