#include <cstring>
#include <vector>

#include "runner.h"
#include "systemd/message.h"
#include "systemd/properties.h"

namespace bulkhead {
namespace {

using systemd::Message;
using systemd::Properties;
using systemd::Reader;
using systemd::Values;

std::string hex(std::string_view bytes) {
  std::string text;
  char digits[3];
  for (const char byte : bytes) {
    snprintf(digits, sizeof digits, "%02x", static_cast<uint8_t>(byte));
    text += digits;
  }
  return text;
}

/** A signal as systemd sends one, with a field that we do not know. */
std::string signal() {
  Values body;
  body.u32(7);
  body.text("/job/7");
  body.text("x.scope");
  body.text("done");
  std::string bytes = systemd::encodeCall({"", "/a", "org.Example", "JobRemoved", "uoss", body.bytes()}, 3);
  bytes[1] = static_cast<char>(systemd::MessageType::signal);
  return bytes;
}

TEST(aCallHasTheBytesOfTheSpecification) {
  // The specification's own example of a header: fields of a Hello to the bus.
  const std::string bytes = systemd::encodeCall(
      {"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", "", ""}, 1);
  EXPECT_TEXT(hex(std::string_view(bytes).substr(0, 16)),
              "6c010001"
              "00000000"
              "01000000"
              "6d000000");
  EXPECT(bytes.size() == 128);
  EXPECT_TEXT(hex(std::string_view(bytes).substr(16, 8)), "01016f0015000000");
  EXPECT(systemd::messageBytes(bytes) == bytes.size());
}

TEST(arraysOfStructsCountFromTheirFirstElement) {
  Values values;
  Properties properties(&values);
  properties.flag("Delegate", true);
  properties.oneOf("PIDs", 258);
  properties.end();
  EXPECT_TEXT(hex(values.bytes()),
              "30000000"
              "00000000"  // length, padding
              "08000000"
              "44656c6567617465"
              "00"
              "016200"  // "Delegate", signature b
              "01000000"
              "00000000"  // true, padding
              "04000000"
              "5049447300"
              "02617500"
              "000000"  // "PIDs", signature au
              "04000000"
              "02010000");
}

TEST(aSignalIsReadBack) {
  const std::string bytes = signal();
  Message message;
  EXPECT(systemd::decodeMessage(bytes, &message));
  EXPECT_TEXT(message.member, "JobRemoved");
  EXPECT_TEXT(message.signature, "uoss");
  uint32_t number = 0;
  std::string_view job;
  Reader body(message.body);
  EXPECT(body.u32(&number) && number == 7 && body.text(&job) && job == "/job/7");
  Reader all(message.body);
  std::string_view types = message.signature;
  while (!types.empty() && all.skip(&types)) continue;
  EXPECT(types.empty() && all.ended());
}

TEST(everyCutAndEveryChangedByteOfASignalIsRefusedOrHarmless) {
  const std::string whole = signal();
  Message message;
  for (size_t size = 0; size < whole.size(); ++size) {
    // A copy of exactly that size, so that a read past it is seen.
    const std::vector<char> cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    EXPECT(!systemd::decodeMessage({cut.data(), cut.size()}, &message));
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const char byte : {'\0', '\x01', '\x7f', '\xff'}) {
      std::string changed = whole;
      changed[at] = byte;
      if (!systemd::decodeMessage(changed, &message)) continue;
      Reader body(message.body);
      std::string_view types = message.signature;
      while (!types.empty() && body.skip(&types)) continue;
    }
  }
}

TEST(typesThatNestTooDeepAreNotFollowed) {
  const std::string zeroes(256, '\0');
  for (const std::string& type : {std::string(64, 'a') + "y", std::string(64, '(') + "y" + std::string(64, ')'),
                                  std::string("("), std::string("a"), std::string("q)"), std::string("?")}) {
    Reader reader(zeroes);
    std::string_view types = type;
    const bool all = reader.skip(&types) && types.empty();
    EXPECT_THAT(!all, type);
  }
}

TEST(annotationsBecomePropertiesOrAreRefused) {
  const auto put = [](std::string_view name, std::string_view value) {
    Values values;
    Properties properties(&values);
    return systemd::putAnnotation(name, value, &properties) ? hex(values.bytes()) : "refused";
  };
  EXPECT(put("TimeoutStopSec", "2").ends_with("80841e0000000000"));
  EXPECT(put("TimeoutStopUSec", "uint64 5").ends_with("0500000000000000"));
  EXPECT(put("KillSignal", "15").ends_with("0f000000"));
  EXPECT(put("CollectMode", "'inactive'").find(hex("inactive")) != std::string::npos);
  for (const char* name : {"PIDs", "Slice", "Delegate", "", "Kill Signal"}) EXPECT_TEXT(put(name, "1"), "refused");
  for (const char* value :
       {"", "x", "uint32 -1", "uint32 4294967296", "int32 2147483648", "double 1", "'", "uint64 "}) {
    EXPECT_TEXT(put("A", value), "refused");
  }
}

TEST(resourcesBecomeWhatSystemdKeeps) {
  rapidjson::Document document;
  std::string reason;
  EXPECT(plan::parseBounded(
      R"({"memory":{"limit":1048576,"swap":2097152},"cpu":{"shares":1024,"quota":50000,"cpus":"0,9"},"pids":{"limit":-1}})",
      &document, &reason));
  Arena arena(1 << 16);
  plan::Context context(&arena);
  Values values;
  Properties properties(&values);
  EXPECT(systemd::putResources(&context, plan::View(document), &properties));
  properties.end();
  Reader reader(values.bytes());
  std::string_view types = "a(sv)";
  EXPECT(reader.skip(&types) && reader.ended());
  const std::string bytes = hex(values.bytes());
  const auto has = [&](const char* name, const char* value) {
    const size_t at = bytes.find(hex(name));
    EXPECT_THAT(at != std::string::npos && bytes.substr(at, 120).find(value) != std::string::npos, name);
  };
  has("MemoryMax", "0000100000000000");
  has("MemorySwapMax", "0000100000000000");
  has("CPUWeight", "6400000000000000");
  has("CPUQuotaPerSecUSec", "20a1070000000000");
  has("AllowedCPUs", "080000000102000000000000");
  has("TasksMax", "ffffffffffffffff");
}

}  // namespace
}  // namespace bulkhead
