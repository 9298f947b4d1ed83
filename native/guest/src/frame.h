// What is said between host and guest: frames of eight bytes and a payload, little endian, version 1.
// packages/kvm/src/guest/frames.ts is the other end.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { kProtocolVersion = 1, kFrameHeader = 8, kPayloadMax = 65536 };

// Randomness that comes with an identity.
enum { kEntropyBytes = 64 };

// Streams of the guest's own numbering begin here, the host's end before it.
enum { kGuestStreams = 0x8000 };

// How much a side may send on one stream before the other has said that it took it, in bytes.
enum { kWindow = 256 * 1024 };

enum frame_type {
  kFrameHello = 1,     // both ways: u32 version. The host's comes first and begins anew
  kFrameSignal = 2,    // host: u32 signal for the entrypoint
  kFrameClock = 3,     // host: i64 seconds and u32 nanoseconds since 1970; what the guest's clock shows from here on
  kFrameExec = 16,     // host: u8 terminal, u8 0, u16 rows, u16 columns, then the words of a process
  kFrameInput = 17,    // host: bytes for the command's input; none: their end
  kFrameTaken = 18,    // both ways: u32 bytes of the stream that were taken
  kFrameResize = 19,   // host: u16 rows, u16 columns
  kFrameKill = 20,     // host: u32 signal for the command's process group
  kFrameClose = 21,    // host: end the command, nobody listens
  kFrameStarted = 32,  // guest: the command runs
  kFrameFailed = 33,   // guest: i32 errno, then the step that failed; the stream is over
  kFrameOutput = 34,   // guest: bytes of the command's output
  kFrameError = 35,    // guest: bytes of its error output
  kFrameEnded = 36,    // guest: i32 exit code or -1, i32 signal or 0; the stream is over
  kFrameUsage = 48,    // host: asks; guest: the text of usage.c
  kFrameFreeze = 64,   // host: keep every process of the instance still; guest: i32 errno, 0 when none of them runs
  kFrameThaw = 65,     // host: let them go on; guest: i32 errno
  kFrameBecome = 66,   // host: kEntropyBytes of randomness, then the words of an identity; guest: i32 errno, 0 when it
                       // is the machine's own now. Only while they are kept still, and they stay so
  kFrameSockets = 80,  // host: u8 directory, then the words of every socket that is in it now (socket_list.h)
  kFrameConnect = 81,  // both ways: u8 directory, then a socket's name: the stream is a connection to it. Its bytes go
                       // as kFrameInput and kFrameOutput, none being their end, and kFrameTaken. Who is done with it,
                       // or could not begin, says kFrameClose; it is over when both have
  kFrameUnmount = 82,  // host: the path of a share, which goes; guest: i32 errno, 0 when it is gone, EBUSY when it is
                       // gone and programs that had files of it open were ended
  kFrameOffered = 83,  // guest: as kFrameSockets, every socket that its programs listen at there
};

struct frame {
  uint32_t size;
  uint8_t type;
  uint8_t unused;
  uint16_t stream;
};
_Static_assert(sizeof(struct frame) == kFrameHeader, "packed");

// Gathers frames from a stream of bytes.
struct frame_reader {
  uint8_t bytes[kFrameHeader + kPayloadMax];
  size_t have;
};

// Where the next bytes go, and how many there may be.
static inline uint8_t* frameSpace(struct frame_reader* reader, size_t* size) {
  *size = sizeof reader->bytes - reader->have;
  return reader->bytes + reader->have;
}

// Calls `take` for every frame that is whole now, `got` bytes having been added. False: what came is no protocol of
// ours.
bool takeFrames(struct frame_reader* reader, size_t got,
                void (*take)(const struct frame* frame, const uint8_t* payload));
