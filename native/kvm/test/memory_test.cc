// Which addresses of a guest are memory.
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>

#include "frame_scene.h"
#include "memory/guest_memory.h"
#include "memory/layout.h"
#include "memory/nodes.h"
#include "runner.h"
#include "snapshot/memory_file.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {
namespace {

using layout::kGiB;
using layout::kMiB;

/** The host's NUMA nodes are 0 to this one. */
uint32_t lastNode() {
  std::string online;
  std::getline(std::ifstream("/sys/devices/system/node/online"), online);
  const size_t dash = online.rfind('-');
  return dash == std::string::npos ? 0 : static_cast<uint32_t>(std::stoul(online.substr(dash + 1)));
}

}  // namespace

TEST(memory_answers_only_whole_ranges_inside_one_region) {
  auto created = GuestMemory::create({.sizeBytes = 4 * kMiB});
  EXPECT(created.ok());
  const GuestMemory& memory = created.value();
  const uint64_t end = 4 * kMiB;
  EXPECT(memory.at(0, end) != nullptr);
  EXPECT(memory.at(end - 1, 1) == memory.at(0, 1) + end - 1);
  EXPECT(memory.at(end - 1, 2) == nullptr);
  EXPECT(memory.at(end, 1) == nullptr);
  EXPECT(memory.at(0, 0) == nullptr);
  EXPECT(memory.at(1, ~uint64_t{0}) == nullptr);
  EXPECT(memory.at(~uint64_t{0}, 2) == nullptr);
  EXPECT(reinterpret_cast<uint64_t>(memory.at(0, 1)) % (2 * kMiB) == 0);
}

TEST(memory_leaves_the_device_window_free) {
  auto created = GuestMemory::create({.sizeBytes = 4 * kGiB});
  EXPECT(created.ok());
  const GuestMemory& memory = created.value();
  EXPECT(memory.regions().count == 2);
  EXPECT(memory.at(3 * kGiB - 8, 8) != nullptr);
  EXPECT(memory.at(3 * kGiB - 8, 9) == nullptr);
  EXPECT(memory.at(layout::kVirtioMmio, 4) == nullptr);
  EXPECT(memory.at(5 * kGiB - 8, 8) != nullptr);
  EXPECT(memory.at(5 * kGiB, 1) == nullptr);
}

TEST(memory_is_a_file_s_only_where_others_map_it) {
  const GuestMemory own = GuestMemory::create({.sizeBytes = 4 * kMiB}).take();
  EXPECT(!own.file().valid());
  const GuestMemory shared = GuestMemory::create({.sizeBytes = 4 * kMiB, .shared = true}).take();
  for (const GuestMemory* memory : {&own, &shared}) {
    uint8_t* const page = memory->at(4096, 4096);
    *page = 'a';
    // What the balloon takes is empty when it is touched again.
    memory->discard(page, 4096);
    EXPECT(*page == 0);
  }
  *shared.at(4096, 1) = 'b';
  char there = 0;
  EXPECT(pread(shared.file().get(), &there, 1, 4096) == 1 && there == 'b');
}

TEST(memory_refuses_sizes_it_cannot_map) {
  for (const uint64_t size : {uint64_t{0}, kMiB, 2 * kMiB + 1, uint64_t{1} << 62}) {
    auto created = GuestMemory::create({.sizeBytes = size});
    EXPECT(!created.ok() && created.error().err == EINVAL);
  }
}

TEST(memory_that_cannot_be_huge_fails_at_once) {
  // A pool of large pages as big as this exists nowhere.
  auto created = GuestMemory::create({.sizeBytes = 1024 * kGiB, .hugepages = true});
  EXPECT(!created.ok() && created.error().err == ENOMEM);
}

TEST(memory_of_a_file_is_read_from_it_and_never_written_to_it) {
  constexpr uint64_t kSize = 2 * layout::kMiB;
  const Fd file = sys::memoryFile("memory", 0).take();
  EXPECT(ftruncate(file.get(), kSize) == 0);
  const char was = 'a';
  EXPECT(pwrite(file.get(), &was, 1, 4096) == 1);
  auto mapped = GuestMemory::mapPrivate(file, {.sizeBytes = kSize});
  EXPECT(mapped.ok());
  if (!mapped.ok()) return;
  const GuestMemory memory = mapped.take();
  uint8_t* const page = memory.at(4096, 4096);
  EXPECT(*page == 'a');
  *page = 'b';
  char now = 0;
  EXPECT(pread(file.get(), &now, 1, 4096) == 1 && now == 'a');
  // What the balloon takes is as in the file when it is touched again.
  memory.discard(page, 4096);
  EXPECT(*page == 'a');
  EXPECT(!GuestMemory::mapPrivate(file, {.sizeBytes = 4096}).ok());
}

TEST(memory_comes_from_the_nodes_that_it_is_bound_to) {
  const uint32_t last = lastNode();
  const Fd file = sys::memoryFile("memory", 0).take();
  EXPECT(ftruncate(file.get(), 4 * kMiB) == 0);
  for (const uint32_t node : {uint32_t{0}, last}) {
    const MemoryOptions bound = {.sizeBytes = 4 * kMiB, .nodes = {node}};
    MemoryOptions shared = bound;
    shared.shared = true;
    Result<GuestMemory> all[] = {GuestMemory::create(bound), GuestMemory::create(shared),
                                 GuestMemory::mapPrivate(file, bound)};
    for (auto& made : all) {
      EXPECT(made.ok());
      if (!made.ok()) continue;
      uint8_t* const page = made.value().at(2 * kMiB, 4096);
      *page = 1;
      int at = -1;
      EXPECT(syscall(SYS_get_mempolicy, &at, nullptr, 0, page, MPOL_F_NODE | MPOL_F_ADDR) == 0);
      EXPECT(at == static_cast<int>(node));
    }
  }
  for (const uint32_t nowhere : {last + 1, kMaxNodes - 1, kMaxNodes, ~uint32_t{0}}) {
    auto made = GuestMemory::create({.sizeBytes = 4 * kMiB, .nodes = {0, nowhere}});
    EXPECT(!made.ok() && made.error().err == EINVAL);
  }
}

TEST(memory_is_saved_without_what_is_zero_and_belongs_to_its_snapshot) {
  constexpr uint64_t kSize = 16 * layout::kMiB;
  const GuestMemory memory = GuestMemory::create({.sizeBytes = kSize}).take();
  *memory.at(5 * layout::kMiB, 1) = 'x';
  // Present, and zero all the same.
  *memory.at(9 * layout::kMiB, 1) = 0;
  const SnapshotFiles files = {sys::memoryFile("state", 0).take(), sys::memoryFile("memory", 0).take()};
  const Fd& file = files.memory;
  const SnapshotId id = {1, 2, 3};
  EXPECT(carry(files, kSize, [&](const FrameSender& to) -> Status {
           TRY(saveMemory(memory, id, to));
           return to.state("x");
         }).ok());
  struct stat status = {};
  EXPECT(fstat(file.get(), &status) == 0);
  // The page that is not, and the one behind all.
  EXPECT(status.st_size == kSize + 4096 && status.st_blocks * 512 <= 2 * 4096);
  for (const bool locked : {false, true}) {
    auto opened = openMemory(file, id, {.sizeBytes = kSize, .locked = locked});
    EXPECT(opened.ok() && *opened.value().at(5 * layout::kMiB, 1) == 'x' && *opened.value().at(0, 1) == 0);
  }
  EXPECT(openMemory(file, {}, {.sizeBytes = kSize}).error().err == EBADMSG);
  EXPECT(openMemory(file, id, {.sizeBytes = kSize / 2}).error().err == EBADMSG);
}

}  // namespace bulkhead::vm
