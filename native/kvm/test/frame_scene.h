// A snapshot's frames on their way from one thread to another, for tests.
#pragma once

#include <fcntl.h>

#include <thread>

#include "runner.h"
#include "snapshot/frame_receiver.h"
#include "snapshot/frame_sender.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {

struct FramePipe {
  Fd reading;
  Fd writing;
};

/** As whoever asks a monitor makes one. */
inline FramePipe framePipe() {
  sys::Pair pipe = sys::pipePair().take();
  EXPECT(fcntl(pipe.right.get(), F_SETFL, O_NONBLOCK) == 0);
  return {std::move(pipe.left), std::move(pipe.right)};
}

/** What `send` answers, whose frames are received into `files` meanwhile: all of them, unless `send` failed. */
template <class Send>
auto carry(const SnapshotFiles& files, uint64_t memoryBytes, Send send) {
  FramePipe pipe = framePipe();
  Status received = Done{};
  std::thread receiver([&] { received = FrameReceiver(std::move(pipe.reading), files, memoryBytes).receive(); });
  auto sent = [&] {
    const FrameSender to(std::move(pipe.writing));
    return send(to);
  }();
  receiver.join();
  EXPECT(!sent.ok() || received.ok());
  return sent;
}

}  // namespace bulkhead::vm
