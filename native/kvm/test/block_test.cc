// virtio-blk over both ways of moving data: what is stored, what is refused, and what a disk's end means.
#include "virtio/block.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "disk.h"
#include "events/clock.h"

namespace bulkhead::vm {

TEST(block_says_what_the_disk_is) {
  Disk disk(false);
  EXPECT(disk.driver->reg(0x100) == kDiskBytes / 512 && disk.driver->reg(0x114) == 512);
  EXPECT(disk.driver->reg(0x10) == (1u << 2 | 1 << 6 | 1 << 9 | 1 << 13 | 1 << 14 | 1 << 29));
  EXPECT((Disk(false, true).driver->reg(0x10) & (1 << 5 | 1 << 13)) == 1 << 5);
  EXPECT(disk.driver->reg(0x1fc) == 0);
}

TEST(block_stores_and_gives_back) {
  bothWays([](Disk& disk) {
    disk.driver->put(kBytes, std::string(512, 'a') + std::string(1024, 'b'));
    EXPECT(disk.ask({kOut, 0, 3}, {{kBytes, 1000}, {kBytes + 1000, 536}}) == kOk);
    EXPECT(disk.stored(3 * 512, 1536) == std::string(512, 'a') + std::string(1024, 'b'));
    EXPECT(disk.ask({kFlush}) == kOk);
    EXPECT(disk.ask({kIn, 0, 4}, {{kBytes + 0x1000, 10, true}, {kBytes + 0x2000, 502, true}}) == kOk);
    EXPECT(disk.driver->get(kBytes + 0x2000, 502) == std::string(502, 'b'));
    EXPECT(disk.driver->usedAt(0, 0).sizeBytes == 1 && disk.driver->usedAt(0, 2).sizeBytes == 513);
  });
}

TEST(block_outcome_may_lie_behind_data_in_one_buffer) {
  bothWays([](Disk& disk) {
    disk.driver->memory.write(kHeader, Request{kIn});
    disk.driver->memory.write(kBytes + 512, kNone);
    disk.driver->add(0, {{kHeader, 16}, {kBytes, 513, true}});
    disk.driver->ring(0);
    EXPECT(disk.driver->waitForUsed(0, 1));
    EXPECT(disk.driver->get(kBytes + 512, 1) == std::string(1, kOk));
  });
}

TEST(block_tells_its_id) {
  Disk disk(false);
  EXPECT(disk.ask({kGetId}, {{kBytes, 20, true}}) == kOk);
  EXPECT_TEXT(disk.driver->get(kBytes, 20).c_str(), "a disk");
  EXPECT(disk.ask({kGetId}, {{kBytes, 19, true}}) == kFailed);
}

TEST(block_refuses_what_is_not_on_the_disk) {
  bothWays([](Disk& disk) {
    const uint64_t end = kDiskBytes / 512;
    EXPECT(disk.ask({kIn, 0, end - 1}, {{kBytes, 512, true}}) == kOk);
    EXPECT(disk.ask({kIn, 0, end - 1}, {{kBytes, 1024, true}}) == kFailed);
    EXPECT(disk.ask({kIn, 0, end}, {{kBytes, 512, true}}) == kFailed);
    EXPECT(disk.ask({kOut, 0, ~uint64_t{0}}, {{kBytes, 512}}) == kFailed);
    EXPECT(disk.ask({kOut, 0, ~uint64_t{0} / 512}, {{kBytes, 1024}}) == kFailed);
    EXPECT(disk.ask({kOut, 0, 0}, {{kBytes, 511}}) == kFailed);
    EXPECT(disk.ask({kOut, 0, 0}) == kFailed);
    EXPECT(disk.ask({77}) == kUnsupported);
    EXPECT(disk.stored(0, kDiskBytes) == std::string(kDiskBytes, '\0'));
  });
}

TEST(block_deallocates_and_zeroes) {
  bothWays([](Disk& disk) {
    const std::string full(kDiskBytes, 'x');
    EXPECT(pwrite(disk.file.get(), full.data(), full.size(), 0) == static_cast<ssize_t>(full.size()));
    EXPECT(disk.askRange(kDiscard, 8, 8) == kOk);
    EXPECT(disk.stored(8 * 512, 8 * 512) == std::string(8 * 512, '\0'));
    EXPECT(disk.askRange(kWriteZeroes, 24, 8, 1) == kOk);
    EXPECT(disk.stored(24 * 512, 8 * 512) == std::string(8 * 512, '\0'));
    // tmpfs cannot keep zeroes allocated, and a driver writes them itself then.
    EXPECT(disk.askRange(kWriteZeroes, 0, 8) == kUnsupported);
    EXPECT(disk.askRange(kDiscard, 0, 8, 1) == kUnsupported);
    EXPECT(disk.askRange(kDiscard, 120, 9) == kFailed);
    EXPECT(disk.askRange(kDiscard, ~uint64_t{0}, 9) == kFailed);
    EXPECT(disk.askRange(kDiscard, 0, 0) == kFailed);
    EXPECT(disk.ask({kDiscard}, {{kBytes, 32}}) == kFailed);
    EXPECT(disk.stored(0, 512) == std::string(512, 'x'));
  });
}

TEST(block_that_is_read_only_stays_as_it_is) {
  Disk disk(false, true);
  EXPECT(disk.ask({kOut}, {{kBytes, 512}}) == kFailed);
  EXPECT(disk.askRange(kDiscard, 0, 8) == kFailed);
  EXPECT(disk.askRange(kWriteZeroes, 0, 8, 1) == kFailed);
  EXPECT(disk.ask({kIn}, {{kBytes, 512, true}}) == kOk);
}

TEST(block_bytes_are_the_disk_whatever_they_look_like) {
  Disk disk(false);
  disk.driver->put(kBytes, "QFI\xfb" + std::string(508, '\0'));
  EXPECT(disk.ask({kOut}, {{kBytes, 512}}) == kOk);
  disk.driver->start(kFlushFeature);
  EXPECT(disk.ask({kIn}, {{kBytes + 0x1000, 512, true}}) == kOk);
  EXPECT_TEXT(disk.driver->get(kBytes + 0x1000, 4), "QFI\xfb");
}

TEST(block_whose_file_shrank_fails_requests_and_nothing_else) {
  bothWays([](Disk& disk) {
    EXPECT(ftruncate(disk.file.get(), 256) == 0);
    EXPECT(disk.ask({kIn}, {{kBytes, 512, true}}) == kFailed);
    EXPECT(ftruncate(disk.file.get(), kDiskBytes) == 0);
    EXPECT(disk.ask({kIn}, {{kBytes, 512, true}}) == kOk);
  });
}

TEST(block_whose_backend_refuses_fails_requests_and_nothing_else) {
  bothWays([](Disk& disk) {
    // Whatever the reason: no space, a broken medium, or this seal, the system call fails in the same place.
    EXPECT(fcntl(disk.file.get(), F_ADD_SEALS, F_SEAL_WRITE) == 0);
    EXPECT(disk.ask({kOut}, {{kBytes, 512}}) == kFailed);
    EXPECT(disk.askRange(kDiscard, 0, 8) == kFailed);
    EXPECT(disk.ask({kIn}, {{kBytes, 512, true}}) == kOk);
    EXPECT(disk.driver->usedCount(0) == 3 && disk.driver->status() == 0xf);
  });
}

TEST(block_knows_no_other_requests_than_its_own) {
  Disk disk(true);
  for (uint32_t kind = 0; kind < 300; ++kind) {
    const bool own =
        kind == kIn || kind == kOut || kind == kFlush || kind == kGetId || kind == kDiscard || kind == kWriteZeroes;
    // Among them SCSI commands, zones and lifetimes, with data of any size.
    if (!own) EXPECT(disk.ask({kind}, {{kBytes, 4096}, {kBytes, 4096, true}}) == kUnsupported);
  }
}

TEST(block_request_without_header_or_outcome_stops_the_device) {
  bothWays([](Disk& disk) {
    disk.driver->add(0, {{kHeader, 15}, {kStatus, 1, true}});
    disk.driver->ring(0);
    EXPECT(disk.driver->needsReset());
    disk.driver->start(kFlushFeature);
    disk.driver->add(0, {{kHeader, 16}});
    disk.driver->ring(0);
    EXPECT(disk.driver->needsReset());
    disk.driver->start(kFlushFeature);
    EXPECT(disk.ask({kFlush}) == kOk);
  });
}

TEST(block_takes_more_requests_than_it_works_on_at_once) {
  bothWays([](Disk& disk) {
    disk.driver->begin(kFlushFeature);
    disk.driver->setUpQueue(0, 256);
    disk.driver->finish();
    disk.driver->memory.write(kHeader, Request{kIn});
    for (uint16_t index = 0; index < 255; index += 3) {
      disk.driver->describe(0, index, {kHeader, 16}, index + 1);
      disk.driver->describe(0, index + 1, {kBytes, 512, true}, index + 2);
      disk.driver->describe(0, index + 2, {kStatus, 1, true});
    }
    for (uint16_t place = 0; place < 256; ++place) {
      disk.driver->memory.write(Driver::available(0) + 4 + place * 2, static_cast<uint16_t>(place % 85 * 3));
    }
    disk.driver->memory.write<uint16_t>(Driver::available(0) + 2, 256);
    disk.driver->ring(0);
    EXPECT(disk.driver->waitForUsed(0, 256));
  });
}

TEST(block_reset_waits_for_what_the_disk_is_at) {
  for (int round = 0; round < 50; ++round) {
    Disk disk(false);
    disk.driver->memory.write(kHeader, Request{kIn});
    disk.driver->add(0, {{kHeader, 16}, {kBytes, kDiskBytes, true}, {kStatus, 1, true}});
    disk.driver->ring(0);
    disk.driver->set(0x70, 0);
    const std::string marks(kDiskBytes, 'm');
    disk.driver->put(kBytes, marks);
    while (disk.driver->wait(0)) continue;
    EXPECT(disk.driver->get(kBytes, kDiskBytes) == marks);
  }
}

TEST(block_keeps_to_its_limits) {
  const uint64_t before = monotonicNs();
  Disk disk(false, false, {.operations = {.perSecond = 100, .burst = 1}, .bytes = {}});
  for (int count = 0; count < 11; ++count) EXPECT(disk.ask({kFlush}) == kOk);
  // The first is free; ten more are a tenth of a second.
  EXPECT(monotonicNs() - before >= 100'000'000);
}

TEST(block_refuses_files_that_are_no_disks) {
  const auto errorOf = [](off_t size, std::string id) {
    BlockOptions options;
    options.file = sys::memoryFile("disk", 0).take();
    EXPECT(ftruncate(options.file.get(), size) == 0);
    options.id = std::move(id);
    auto made = Block::create(std::move(options));
    return made.ok() ? 0 : made.error().err;
  };
  EXPECT(errorOf(512, "") == 0);
  EXPECT(errorOf(0, "") == EINVAL);
  EXPECT(errorOf(513, "") == EINVAL);
  EXPECT(errorOf(512, std::string(21, 'i')) == EINVAL);
}

}  // namespace bulkhead::vm
