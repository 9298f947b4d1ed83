// However much a guest asks of its disk at once, a visit ends soon and everything is done in the end.
#include <cstring>

#include "disk.h"

namespace bulkhead::vm {
namespace {

constexpr uint16_t kRequests = 64;
constexpr uint32_t kRequestBytes = 1 << 20;
constexpr uint64_t kLargeBytes = uint64_t{kRequests} * kRequestBytes;
/** Of a buffer, so that no part of a large request ends where one does. */
constexpr uint32_t kPieceBytes = 3 << 19;

struct LargeDisk : Disk {
  explicit LargeDisk(bool oneByOne) : Disk(oneByOne, false, {}, kLargeBytes) {
    driver->begin(kFlushFeature);
    driver->setUpQueue(0, 256);
    driver->finish();
  }
  /** The same request so many times, with all of its data in `pieces` buffers that are one. */
  void ask(uint32_t kind, uint16_t requests, uint16_t pieces, uint32_t pieceBytes) {
    driver->memory.write(kHeader, Request{kind});
    driver->memory.write(kStatus, kNone);
    driver->describe(0, 0, {kHeader, 16}, 1);
    for (uint16_t index = 1; index <= pieces; ++index) {
      driver->describe(0, index, {kBytes, pieceBytes, kind == kIn}, index + 1);
    }
    driver->describe(0, pieces + 1, {kStatus, 1, true});
    driver->memory.write<uint16_t>(Driver::available(0) + 2, static_cast<uint16_t>(asked += requests));
    driver->ring(0);
  }
  uint8_t status() {
    uint8_t status = kNone;
    EXPECT(driver->memory.read(kStatus, &status));
    return status;
  }
  uint16_t asked = 0;
};

template <class Body>
void onLargeDisks(Body body) {
  for (const bool oneByOne : {false, true}) {
    LargeDisk disk(oneByOne);
    body(disk);
  }
}

/** Of each mebibyte the number. */
void number(LargeDisk& disk) {
  for (uint32_t index = 0; index < kRequests; ++index) {
    const std::string bytes(kRequestBytes, static_cast<char>('0' + index));
    EXPECT(pwrite(disk.file.get(), bytes.data(), bytes.size(), int64_t{index} * kRequestBytes) == kRequestBytes);
  }
}

}  // namespace

TEST(a_visit_to_a_disk_takes_only_so_much_data) {
  onLargeDisks([](LargeDisk& disk) {
    disk.ask(kIn, kRequests, 1, kRequestBytes);
    EXPECT(disk.driver->usedCount(0) <= Block::kVisitBytes / kRequestBytes);
    EXPECT(disk.driver->waitForUsed(0, kRequests) && disk.status() == kOk);
    EXPECT(!disk.driver->needsReset());
  });
}

TEST(a_request_that_is_large_is_done_in_parts) {
  onLargeDisks([](LargeDisk& disk) {
    number(disk);
    constexpr uint16_t kPieces = 40;
    disk.ask(kIn, 1, kPieces, kPieceBytes);
    EXPECT(disk.driver->usedCount(0) == 0);
    EXPECT(disk.driver->waitForUsed(0, 1) && disk.status() == kOk);
    EXPECT(disk.driver->usedAt(0, 0).sizeBytes == kPieces * kPieceBytes + 1);
    // All of it came to one place, and what is last on the disk came last.
    EXPECT(disk.driver->get(kBytes, kPieceBytes) == disk.stored((kPieces - 1) * uint64_t{kPieceBytes}, kPieceBytes));

    std::string bytes;
    for (uint32_t index = 0; bytes.size() < kPieceBytes; ++index) bytes.append(reinterpret_cast<char*>(&index), 4);
    disk.driver->put(kBytes, bytes);
    disk.ask(kOut, 1, kPieces, kPieceBytes);
    EXPECT(disk.driver->waitForUsed(0, 2) && disk.status() == kOk);
    for (uint32_t piece = 0; piece < kPieces; ++piece) {
      EXPECT(disk.stored(piece * uint64_t{kPieceBytes}, kPieceBytes) == bytes);
    }
    EXPECT(disk.stored(kPieces * uint64_t{kPieceBytes}, 1) == std::string(1, '0' + kPieces * 3 / 2));
  });
}

TEST(a_large_request_whose_file_is_shorter_fails_alone) {
  onLargeDisks([](LargeDisk& disk) {
    EXPECT(ftruncate(disk.file.get(), BlockSlot::kPartBytes + 512) == 0);
    disk.ask(kIn, 1, 40, kPieceBytes);
    EXPECT(disk.driver->waitForUsed(0, 1) && disk.status() == kFailed);
    disk.ask(kIn, 1, 1, 512);
    EXPECT(disk.driver->waitForUsed(0, 2) && disk.status() == kOk);
  });
}

TEST(a_reset_amid_a_large_request_leaves_memory_alone_and_the_disk_whole) {
  onLargeDisks([](LargeDisk& disk) {
    disk.ask(kIn, kRequests, 40, kPieceBytes);
    disk.driver->set(0x70, 0);
    const std::string marks(kPieceBytes, 'm');
    disk.driver->put(kBytes, marks);
    while (disk.driver->wait(0)) continue;
    EXPECT(disk.driver->get(kBytes, kPieceBytes) == marks);
    disk.driver->begin(kFlushFeature);
    disk.driver->setUpQueue(0, 256);
    disk.driver->finish();
    disk.asked = 0;
    disk.ask(kIn, kRequests, 1, kRequestBytes);
    EXPECT(disk.driver->waitForUsed(0, kRequests) && disk.status() == kOk);
  });
}

TEST(a_snapshot_amid_large_requests_has_those_that_were_begun_done) {
  onLargeDisks([](LargeDisk& disk) {
    disk.ask(kIn, kRequests, 40, kPieceBytes);
    EXPECT(disk.driver->usedCount(0) == 0);
    EXPECT(!disk.driver->transport->save().empty());
    const uint16_t begun = disk.driver->usedCount(0);
    EXPECT(begun > 0 && begun < kRequests);
    // And the machine goes on with the others.
    EXPECT(disk.driver->waitForUsed(0, kRequests) && disk.status() == kOk);
  });
}

}  // namespace bulkhead::vm
