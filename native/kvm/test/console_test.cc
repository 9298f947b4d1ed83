// virtio-console: bytes both ways, and what happens when one side does not keep up.
#include "virtio/console.h"

#include "driver.h"
#include "runner.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {
namespace {

constexpr uint32_t kReceive = 0;
constexpr uint32_t kTransmit = 1;

struct Line {
  sys::Pair in = sys::pipePair().take();
  sys::Pair out = sys::pipePair().take();
  Driver driver{std::make_unique<Console>(std::move(in.left), Output(std::move(out.right)))};

  Line() {
    driver.start();
    settle();
  }
  void settle() {
    while (driver.wait(0)) continue;
  }
  void type(std::string_view text) { EXPECT(sys::writeAll(in.right.get(), text.data(), text.size()).ok()); }
};

}  // namespace

TEST(console_sends_every_buffer) {
  Line line;
  line.driver.put(Driver::kData, "hello world");
  line.driver.add(kTransmit, {{Driver::kData, 6}, {Driver::kData + 6, 5}});
  line.driver.ring(kTransmit);
  char said[64] = {};
  EXPECT(sys::readSome(line.out.left.get(), said, sizeof said).ok());
  EXPECT_TEXT(said, "hello world");
  EXPECT(line.driver.usedCount(kTransmit) == 1);
}

TEST(console_receives_into_buffers_that_are_there) {
  Line line;
  line.type("typed ahead");
  line.settle();
  // Nobody listens yet, so nobody is woken again and again.
  EXPECT(!line.driver.wait(0));
  line.driver.add(kReceive, {{Driver::kData, 5, true}}, 0);
  line.driver.ring(kReceive);
  line.settle();
  EXPECT(line.driver.usedCount(kReceive) == 1 && line.driver.usedAt(kReceive, 0).sizeBytes == 5);
  line.driver.add(kReceive, {{Driver::kData + 5, 3, true}, {Driver::kData + 8, 20, true}}, 2);
  line.driver.ring(kReceive);
  line.settle();
  EXPECT_TEXT(line.driver.get(Driver::kData, 11), "typed ahead");
  EXPECT(line.driver.usedAt(kReceive, 1).sizeBytes == 6);
}

TEST(console_whose_input_ended_is_quiet) {
  Line line;
  line.driver.add(kReceive, {{Driver::kData, 5, true}});
  line.driver.ring(kReceive);
  line.in.right.reset();
  line.settle();
  line.driver.ring(kReceive);
  EXPECT(!line.driver.wait(0) && line.driver.usedCount(kReceive) == 0);
}

TEST(console_without_input_or_with_a_file_for_it_starts) {
  for (const bool file : {false, true}) {
    Fd input = file ? sys::memoryFile("input", 0).take() : Fd();
    Driver driver(std::make_unique<Console>(std::move(input), Output(sys::memoryFile("output", 0).take())));
    driver.start();
    driver.add(kReceive, {{Driver::kData, 5, true}});
    driver.ring(kReceive);
    EXPECT(!driver.needsReset() && driver.usedCount(kReceive) == 0);
  }
}

TEST(console_flood_costs_its_guest_only) {
  Line line;
  for (int count = 0; count < 10; ++count) {
    line.driver.add(kTransmit, {{Driver::kData, static_cast<uint32_t>(layout::kMiB)}});
    line.driver.ring(kTransmit);
  }
  EXPECT(line.driver.usedCount(kTransmit) == 10 && !line.driver.needsReset());
}

TEST(console_gives_back_buffers_that_nothing_fits_in) {
  Line line;
  line.type("x");
  line.driver.add(kReceive, {{Driver::kData, 5, false}});
  line.driver.ring(kReceive);
  line.settle();
  EXPECT(line.driver.usedCount(kReceive) == 1 && line.driver.usedAt(kReceive, 0).sizeBytes == 0);
}

TEST(console_that_was_lied_to_listens_no_more) {
  Line line;
  line.driver.add(kReceive, {{~uint64_t{0}, 5, true}});
  line.driver.ring(kReceive);
  line.type("x");
  line.settle();
  EXPECT(line.driver.needsReset());
  EXPECT(!line.driver.wait(0));
}

}  // namespace bulkhead::vm
