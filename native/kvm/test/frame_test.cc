// Frames of monitors that a guest has taken over: a clear refusal, and no file that is longer than it may be.
#include <fcntl.h>
#include <linux/memfd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "frame_scene.h"
#include "snapshot/state_file.h"

namespace bulkhead::vm {
namespace {

constexpr uint64_t kMemory = 4 * kFramePage;
constexpr uint64_t kEnd = kMemory + kFramePage;

std::string frame(FrameKind kind, uint64_t offset, uint64_t said, std::string_view bytes) {
  const FrameHead head = {kind, static_cast<uint32_t>(said), offset};
  return std::string(reinterpret_cast<const char*>(&head), sizeof head).append(bytes);
}

std::string pages(uint64_t offset, uint64_t count = 1) {
  return frame(FrameKind::memory, offset, count * kFramePage, std::string(count * kFramePage, 'm'));
}

std::string state(std::string_view bytes = "state") {
  return frame(FrameKind::state, 0, bytes.size(), bytes);
}

struct Files {
  SnapshotFiles both = {sys::memoryFile("state", MFD_ALLOW_SEALING).take(),
                        sys::memoryFile("memory", MFD_ALLOW_SEALING).take()};

  static uint64_t sizeOf(const Fd& file) {
    struct stat status = {};
    EXPECT(fstat(file.get(), &status) == 0);
    return static_cast<uint64_t>(status.st_size);
  }
};

/** What comes of these bytes, and then of nothing more: the end, or silence. */
Status receive(const Files& files, const std::string& bytes, bool silent = false) {
  FramePipe pipe = framePipe();
  EXPECT(fcntl(pipe.writing.get(), F_SETPIPE_SZ, 1024 * 1024) > 0);
  EXPECT(sys::writeAll(pipe.writing.get(), bytes.data(), bytes.size()).ok());
  if (!silent) pipe.writing.reset();
  constexpr int kSilenceMs = 50;
  return FrameReceiver(std::move(pipe.reading), files.both, kMemory, kSilenceMs).receive();
}

}  // namespace

TEST(frames_become_files_with_their_holes) {
  const Files files;
  EXPECT(receive(files, pages(kFramePage) + pages(kMemory) + state()).ok());
  EXPECT(Files::sizeOf(files.both.memory) == kEnd && Files::sizeOf(files.both.state) == 5);
  struct stat status = {};
  EXPECT(fstat(files.both.memory.get(), &status) == 0 && status.st_blocks * 512 == 2 * kFramePage);
  char bytes[2] = {};
  EXPECT(pread(files.both.memory.get(), bytes, 2, kFramePage - 1) == 2 && bytes[0] == '\0' && bytes[1] == 'm');
}

TEST(frames_that_no_monitor_of_ours_sends_are_refused) {
  const std::string whole = pages(0, 4) + pages(kMemory);
  const std::string page(kFramePage, 'm');
  const std::pair<const char*, std::string> wrong[] = {
      {"memory twice", pages(0) + pages(0)},
      {"memory that overlaps", pages(0, 2) + pages(kFramePage, 2)},
      {"memory out of order", pages(kFramePage) + pages(0)},
      {"memory behind the end", pages(kEnd)},
      {"memory beyond the end", pages(kMemory, 2)},
      {"memory far beyond the end", pages(~uint64_t{0} - kFramePage + 1)},
      {"no memory", frame(FrameKind::memory, 0, 0, "")},
      {"less than a page", frame(FrameKind::memory, 0, kFramePage - 1, page)},
      {"pages that are not aligned", frame(FrameKind::memory, 1, kFramePage, page)},
      {"a frame without end", frame(FrameKind::memory, 0, 0xfffff000, page)},
      {"a frame that is too long", frame(FrameKind::memory, 0, kMaxFrameBytes + kFramePage, page)},
      {"a kind that is none", frame(FrameKind{3}, 0, kFramePage, page)},
      {"a state before the memory", state()},
      {"a state before all of the memory", pages(0, 4) + state()},
      {"an empty state", whole + state("")},
      {"a state that is too long", whole + frame(FrameKind::state, 0, kMaxStateBytes + 1, page)},
      {"a state somewhere else", whole + frame(FrameKind::state, kFramePage, 5, "state")},
  };
  for (const auto& [what, bytes] : wrong) {
    const Files files;
    for (const bool silent : {false, true}) {
      const Status received = receive(files, bytes, silent);
      EXPECT_THAT(!received.ok() && received.error().err == EBADMSG, what);
    }
    EXPECT_THAT(Files::sizeOf(files.both.memory) <= kEnd && Files::sizeOf(files.both.state) == 0, what);
  }
}

TEST(frames_that_end_too_early_are_no_snapshot) {
  const std::string whole = pages(kFramePage, 3) + pages(kMemory) + state();
  for (size_t size = 0; size < whole.size(); size += 1 + size / 2) {
    const Files files;
    EXPECT(receive(files, whole.substr(0, size)).error().err == EPIPE);
    EXPECT(receive(files, whole.substr(0, size), true).error().err == ETIMEDOUT);
  }
}

TEST(what_follows_a_state_is_nobody_s) {
  const Files files;
  EXPECT(receive(files, pages(kMemory) + state() + pages(0) + "more", true).ok());
  EXPECT(Files::sizeOf(files.both.memory) == kEnd && Files::sizeOf(files.both.state) == 5);
}

TEST(a_file_that_cannot_be_written_is_said_to_be) {
  const Files files;
  EXPECT(fcntl(files.both.memory.get(), F_ADD_SEALS, F_SEAL_GROW) == 0);
  EXPECT(receive(files, pages(0)).error().err == EPERM);
}

TEST(a_sender_whose_frames_nobody_takes_goes_on_without) {
  signal(SIGPIPE, SIG_IGN);
  FramePipe pipe = framePipe();
  const FrameSender to(std::move(pipe.writing), 50);
  const std::string much(kMaxFrameBytes, 'm');
  EXPECT(to.memory(0, much).error().err == ETIMEDOUT);
  pipe.reading.reset();
  EXPECT(to.memory(0, much).error().err == EPIPE);
}

}  // namespace bulkhead::vm
