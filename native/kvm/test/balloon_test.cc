// virtio-balloon: what the host gets back, and what it does not let itself be given.
#include "virtio/balloon.h"

#include <vector>

#include "driver.h"
#include "events/clock.h"
#include "runner.h"

namespace bulkhead::vm {
namespace {

constexpr uint32_t kInflate = 0;
constexpr uint32_t kDeflate = 1;
constexpr uint32_t kReported = 2;
constexpr uint64_t kPages = 3 * layout::kMiB;
constexpr uint32_t kFirstPage = kPages / Balloon::kPageBytes;

struct Guest {
  Driver driver{std::make_unique<Balloon>(77)};

  Guest() {
    driver.start();
    memset(driver.memory.at(kPages, layout::kMiB), 'x', layout::kMiB);
  }
  void send(uint32_t queue, const std::vector<uint32_t>& pages) {
    const auto size = static_cast<uint32_t>(pages.size() * 4);
    memcpy(driver.memory.at(Driver::kData, size), pages.data(), size);
    driver.add(queue, {{Driver::kData, size}});
    driver.ring(queue);
  }
  bool isEmpty(uint32_t page) { return driver.get(uint64_t{page} * 4096, 4096) == std::string(4096, '\0'); }
};

}  // namespace

TEST(balloon_gives_pages_back_and_no_others) {
  Guest guest;
  // In any order, with a gap, and one of them twice.
  guest.send(kInflate, {kFirstPage + 3, kFirstPage + 2, kFirstPage + 1, kFirstPage + 9, kFirstPage + 9});
  for (const uint32_t page : {1, 2, 3, 9}) EXPECT(guest.isEmpty(kFirstPage + page));
  for (const uint32_t page : {0, 4, 8, 10}) EXPECT(!guest.isEmpty(kFirstPage + page));
  EXPECT(guest.driver.usedCount(kInflate) == 1);
  guest.send(kDeflate, {kFirstPage + 1});
  EXPECT(guest.driver.usedCount(kDeflate) == 1);
}

TEST(balloon_takes_many_pages_at_once) {
  Guest guest;
  std::vector<uint32_t> pages;
  for (uint32_t page = 0; page < 256; ++page) pages.push_back(kFirstPage + 255 - page);
  pages.insert(pages.end(), pages.begin(), pages.end());
  guest.send(kInflate, pages);
  for (uint32_t page = 0; page < 256; ++page) EXPECT(guest.isEmpty(kFirstPage + page));
}

TEST(balloon_takes_only_the_guest_s_pages) {
  for (const uint32_t page : {1024u, 0xc0000u, ~0u}) {
    Guest guest;
    guest.send(kInflate, {kFirstPage, page});
    EXPECT(guest.driver.needsReset());
  }
  // A run that begins inside and ends outside.
  Guest guest;
  guest.send(kInflate, {1022, 1023, 1024});
  EXPECT(guest.driver.needsReset() && !guest.isEmpty(1022));
}

TEST(balloon_looks_at_no_more_pages_at_once_than_a_driver_sends) {
  Guest guest;
  // A request of the largest size that there is: 4 GiB of page numbers, from the same pages again and again.
  std::vector<Buffer> buffers(255, Buffer{0, 4 * layout::kMiB});
  guest.driver.begin();
  guest.driver.setUpQueue(kInflate, 256);
  guest.driver.finish();
  for (uint32_t index = 0; index < Balloon::kPagesAtOnce; ++index) guest.driver.memory.write(index * 4, kFirstPage);
  const uint64_t before = monotonicNs();
  guest.driver.add(kInflate, buffers);
  guest.driver.ring(kInflate);
  EXPECT(guest.driver.usedCount(kInflate) == 1 && guest.isEmpty(kFirstPage));
  EXPECT(monotonicNs() - before < 1'000'000'000);
}

TEST(balloon_takes_whole_pages_of_what_is_reported_free) {
  Guest guest;
  guest.driver.add(kReported, {{kPages + 100, 3 * 4096, true}, {kPages + 0x8000, 4095, true}});
  guest.driver.ring(kReported);
  EXPECT(!guest.isEmpty(kFirstPage) && guest.isEmpty(kFirstPage + 1) && guest.isEmpty(kFirstPage + 2));
  EXPECT(!guest.isEmpty(kFirstPage + 3) && !guest.isEmpty(kFirstPage + 8));
  EXPECT(guest.driver.usedCount(kReported) == 1);
}

TEST(balloon_says_what_is_wished_and_believes_what_is_there) {
  Guest guest;
  EXPECT(guest.driver.reg(0x100) == 77);
  guest.driver.set(0x104, 50);
  guest.driver.set(0x100, 1);
  guest.driver.set(0x108, 1);
  EXPECT(guest.driver.reg(0x104) == 50 && guest.driver.reg(0x100) == 77);
}

}  // namespace bulkhead::vm
