#include "plan/codec.h"
#include "plan_input.h"
#include "runner.h"

namespace bulkhead {
namespace {

std::string compiledBytes() {
  plan::Compiled compiled;
  plan::CompileError error;
  EXPECT_THAT(plan::compileContainer(test::planInput(), nullptr, &compiled, &error), error.pointer + error.message);
  return compiled.bytes;
}

bool decodes(const std::string& bytes) {
  Arena arena(plan::kPlanArenaBytes);
  plan::Container container;
  return plan::decode(bytes, &arena, &container);
}

TEST(planSurvivesTheRoundTrip) {
  const std::string bytes = compiledBytes();
  Arena arena(plan::kPlanArenaBytes);
  plan::Container container;
  EXPECT(plan::decode(bytes, &arena, &container));
  EXPECT(plan::encode(container) == bytes);
  EXPECT_TEXT(container.process.arguments[1].view(), "1");
  EXPECT_TEXT(container.root.layers[0].view(), "/l/2");
  EXPECT_TEXT(container.mounts[2].source.view(), "data");
  EXPECT_TEXT(container.mounts[2].beneath.view(), "/srv");
  EXPECT(container.process.affinity.count == 1 && container.process.affinity[0] == 0b1011);
}

TEST(everyTruncationOfAPlanIsRefused) {
  const std::string bytes = compiledBytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(!decodes(bytes.substr(0, size)), std::to_string(size));
  }
  EXPECT(!decodes(bytes + '\0'));
}

TEST(flippedBitsNeverEscapeTheBytes) {
  // Under AddressSanitizer any read outside the plan ends the run; whatever still decodes must encode to itself.
  const std::string bytes = compiledBytes();
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string hostile = bytes;
    hostile[bit / 8] = static_cast<char>(hostile[bit / 8] ^ (1 << (bit % 8)));
    Arena arena(plan::kPlanArenaBytes);
    plan::Container container;
    if (plan::decode(hostile, &arena, &container)) EXPECT(plan::encode(container) == hostile);
  }
}

TEST(aPlanOfAnotherVersionOrKindIsRefused) {
  std::string bytes = compiledBytes();
  bytes[4] = static_cast<char>(bytes[4] + 1);
  EXPECT(!decodes(bytes));
  Arena arena(plan::kPlanArenaBytes);
  plan::Exec exec;
  EXPECT(!plan::decode(compiledBytes(), &arena, &exec));
}

TEST(aCountLargerThanThePlanIsRefusedBeforeMemoryIsTaken) {
  plan::Container container;
  std::string bytes = plan::encode(container);
  // flags and namespaces, then the count of joins
  for (size_t at = 6 + 8; at < 6 + 12; ++at) bytes[at] = '\x7f';
  EXPECT(!decodes(bytes));
}

}  // namespace
}  // namespace bulkhead
