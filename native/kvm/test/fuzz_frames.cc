// Any bytes as what a monitor sends of its snapshot: refused, or two files of the size that they must have.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "snapshot/frame_receiver.h"
#include "snapshot/state_file.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {
namespace {

constexpr uint64_t kMemory = 2 * kFramePage;
constexpr int kPipeBytes = 64 * 1024;

uint64_t sizeOf(const Fd& file) {
  struct stat status = {};
  if (fstat(file.get(), &status) != 0) abort();
  return static_cast<uint64_t>(status.st_size);
}

void empty(const Fd& file) {
  if (ftruncate(file.get(), 0) != 0) abort();
}

}  // namespace
}  // namespace bulkhead::vm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bulkhead::vm;
  namespace sys = bulkhead::sys;
  static const SnapshotFiles files = {sys::memoryFile("state", 0).take(), sys::memoryFile("memory", 0).take()};
  if (size > kPipeBytes) return 0;
  empty(files.state);
  empty(files.memory);
  sys::Pair pipe = sys::pipePair().take();
  if (!sys::writeAll(pipe.right.get(), data, size).ok()) abort();
  pipe.right.reset();
  const bool received = FrameReceiver(std::move(pipe.left), files, kMemory).receive().ok();
  const uint64_t memory = sizeOf(files.memory);
  const uint64_t state = sizeOf(files.state);
  if (memory > kMemory + kFramePage || state > kMaxStateBytes) abort();
  if (received && (memory != kMemory + kFramePage || state == 0)) abort();
  return 0;
}
