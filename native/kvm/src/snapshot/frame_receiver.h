// Whoever asks a monitor for a snapshot writes its files: the monitor, which a guest may have taken over, has neither.
#pragma once

#include "snapshot/frame.h"
#include "snapshot/snapshot_files.h"
#include "sys/result.h"

namespace bulkhead::vm {

/** Takes no memory for what comes: it goes from the pipe to the files. */
class FrameReceiver {
 public:
  /** `pipe`: its reading end. `files`, which outlive it, are empty. `memoryBytes`: what the machine has, in pages. */
  FrameReceiver(Fd pipe, const SnapshotFiles& files, uint64_t memoryBytes, int patienceMs = kFramePatienceMs)
      : pipe_(std::move(pipe)), files_(files), endBytes_(memoryBytes + kFramePage), patienceMs_(patienceMs) {}

  /**
   * Until all of the memory and the state are there; no file becomes longer than it may.
   * @returns EBADMSG for frames that are no machine's of this size, EPIPE when they end too early, ETIMEDOUT when none
   * comes for too long, or what the files' disk says
   */
  Status receive();

 private:
  Status receiveMemory(const FrameHead& head);
  Status receiveState(const FrameHead& head);
  Result<FrameHead> nextHead();
  /** So many bytes of the pipe to this place of a file. */
  Status move(const Fd& file, uint64_t offset, uint64_t sizeBytes);
  Status awaitBytes() const;

  Fd pipe_;
  const SnapshotFiles& files_;
  uint64_t endBytes_;
  int patienceMs_;
  /** Where the last frame of memory ended. */
  uint64_t reached_ = 0;
};

}  // namespace bulkhead::vm
