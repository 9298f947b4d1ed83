#include "systemd/message.h"

#include <cstring>

namespace bulkhead::systemd {
namespace {

// dbus-specification: "Header Fields"
enum Field : uint8_t {
  kPath = 1,
  kInterface = 2,
  kMember = 3,
  kErrorName = 4,
  kAnswers = 5,
  kDestination = 6,
  kTypes = 8
};
constexpr uint8_t kVersion = 1;
// The specification's own bound on nested containers of one sort.
constexpr int kMaxDepth = 32;

size_t alignmentOf(char type) {
  if (memchr("yg", type, 2) != nullptr || type == 'v') return 1;
  if (memchr("nq", type, 2) != nullptr) return 2;
  if (memchr("xtd({", type, 5) != nullptr) return 8;
  return 4;
}

/** Bytes of a value of fixed size; 0 for other types. */
size_t sizeOf(char type) {
  if (type == 'y') return 1;
  if (memchr("nq", type, 2) != nullptr) return 2;
  if (memchr("biuh", type, 4) != nullptr) return 4;
  return memchr("xtd", type, 3) != nullptr ? 8 : 0;
}

/** Takes one complete type away from the front. */
bool skipType(std::string_view* types, int depth) {
  if (types->empty() || depth > kMaxDepth) return false;
  const char type = types->front();
  types->remove_prefix(1);
  if (type == 'a') return skipType(types, depth + 1);
  if (type != '(' && type != '{') return sizeOf(type) > 0 || memchr("sogv", type, 4) != nullptr;
  const char end = type == '(' ? ')' : '}';
  while (!types->empty() && types->front() != end) {
    if (!skipType(types, depth + 1)) return false;
  }
  if (types->empty()) return false;
  types->remove_prefix(1);
  return true;
}

void putField(Values* values, Field field, const char* type, std::string_view text) {
  if (text.empty()) return;
  values->align(8);
  values->u8(field);
  values->signature(type);
  if (*type == 'g') {
    values->signature(text);
  } else {
    values->text(text);
  }
}

bool readField(Reader* reader, Message* message) {
  uint8_t field = 0;
  std::string_view type;
  if (!reader->align(8) || !reader->u8(&field) || !reader->signature(&type)) return false;
  if (field == kAnswers && type == "u") return reader->u32(&message->answers);
  if (field == kTypes && type == "g") return reader->signature(&message->signature);
  std::string_view* text = field == kInterface   ? &message->interface
                           : field == kMember    ? &message->member
                           : field == kErrorName ? &message->errorName
                                                 : nullptr;
  if (text != nullptr && type == "s") return reader->text(text);
  // A field that is known but of another type, or one that nobody here asks for.
  return text == nullptr && field != kAnswers && field != kTypes && reader->skip(&type) && type.empty();
}

uint32_t numberAt(std::string_view bytes, size_t at) {
  uint32_t value;
  memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

size_t padded(size_t size) {
  return (size + 7) / 8 * 8;
}

}  // namespace

void Values::number(uint64_t value, size_t size) {
  align(size);
  bytes_.append(reinterpret_cast<const char*>(&value), size);
}

void Values::text(std::string_view value) {
  u32(static_cast<uint32_t>(value.size()));
  bytes_.append(value);
  bytes_.push_back('\0');
}

void Values::signature(std::string_view value) {
  u8(static_cast<uint8_t>(value.size()));
  bytes_.append(value);
  bytes_.push_back('\0');
}

Values::Array Values::openArray(size_t alignment) {
  u32(0);
  const size_t lengthAt = bytes_.size() - sizeof(uint32_t);
  // The padding in front of the first element is no part of the array's length.
  align(alignment);
  return {lengthAt, bytes_.size()};
}

void Values::closeArray(const Array& array) {
  const auto size = static_cast<uint32_t>(bytes_.size() - array.start);
  memcpy(bytes_.data() + array.lengthAt, &size, sizeof size);
}

std::string encodeCall(const Call& call, uint32_t serial) {
  Values head;
  head.u8('l');
  head.u8(static_cast<uint8_t>(MessageType::call));
  head.u8(0);
  head.u8(kVersion);
  head.u32(static_cast<uint32_t>(call.body.size()));
  head.u32(serial);
  const Values::Array fields = head.openArray(8);
  putField(&head, kPath, "o", call.path);
  putField(&head, kInterface, "s", call.interface);
  putField(&head, kMember, "s", call.member);
  putField(&head, kDestination, "s", call.destination);
  putField(&head, kTypes, "g", call.signature);
  head.closeArray(fields);
  head.align(8);
  if (head.bytes().size() + call.body.size() > kMaxMessageBytes) return {};
  return head.bytes() + std::string(call.body);
}

bool Reader::take(size_t size, std::string_view* taken) {
  bad_ = bad_ || size > bytes_.size() - at_;
  if (bad_) return false;
  *taken = bytes_.substr(at_, size);
  at_ += size;
  return true;
}

bool Reader::align(size_t alignment) {
  std::string_view padding;
  return take((alignment - at_ % alignment) % alignment, &padding);
}

bool Reader::u8(uint8_t* value) {
  std::string_view bytes;
  if (!take(1, &bytes)) return false;
  *value = static_cast<uint8_t>(bytes[0]);
  return true;
}

bool Reader::u32(uint32_t* value) {
  std::string_view bytes;
  if (!align(sizeof *value) || !take(sizeof *value, &bytes)) return false;
  *value = numberAt(bytes, 0);
  return true;
}

bool Reader::text(std::string_view* value) {
  uint32_t size = 0;
  std::string_view end;
  if (!u32(&size) || !take(size, value) || !take(1, &end)) return false;
  bad_ = end[0] != '\0' || value->find('\0') != std::string_view::npos;
  return !bad_;
}

bool Reader::signature(std::string_view* value) {
  uint8_t size = 0;
  std::string_view end;
  if (!u8(&size) || !take(size, value) || !take(1, &end)) return false;
  bad_ = end[0] != '\0';
  return !bad_;
}

bool Reader::skip(std::string_view* types, int depth) {
  if (types->empty() || depth > kMaxDepth) return false;
  const char type = types->front();
  types->remove_prefix(1);
  std::string_view passed;
  if (const size_t size = sizeOf(type); size > 0) return align(size) && take(size, &passed);
  if (type == 's' || type == 'o') return text(&passed);
  if (type == 'g') return signature(&passed);
  if (type == 'v') return signature(&passed) && skip(&passed, depth + 1) && passed.empty();
  if (type == '(' || type == '{') {
    const char end = type == '(' ? ')' : '}';
    if (!align(8)) return false;
    while (!types->empty() && types->front() != end) {
      if (!skip(types, depth + 1)) return false;
    }
    if (types->empty()) return false;
    types->remove_prefix(1);
    return true;
  }
  uint32_t size = 0;
  if (type != 'a' || types->empty() || !u32(&size) || !align(alignmentOf(types->front()))) return false;
  return take(size, &passed) && skipType(types, depth + 1);
}

size_t messageBytes(std::string_view prefix) {
  if (prefix.size() < kPrefixBytes || prefix[0] != 'l' || prefix[3] != static_cast<char>(kVersion)) return 0;
  const size_t body = numberAt(prefix, 4);
  const size_t fields = numberAt(prefix, 12);
  if (body > kMaxMessageBytes || fields > kMaxMessageBytes) return 0;
  const size_t whole = padded(kPrefixBytes + fields) + body;
  return whole > kMaxMessageBytes ? 0 : whole;
}

bool decodeMessage(std::string_view bytes, Message* message) {
  *message = {};
  const size_t whole = messageBytes(bytes);
  if (whole == 0 || whole != bytes.size()) return false;
  const auto type = static_cast<uint8_t>(bytes[1]);
  if (type < static_cast<uint8_t>(MessageType::call) || type > static_cast<uint8_t>(MessageType::signal)) return false;
  message->type = static_cast<MessageType>(type);
  const size_t fieldsEnd = kPrefixBytes + numberAt(bytes, 12);
  Reader reader(bytes.substr(0, fieldsEnd));
  for (size_t passed = 0; passed < kPrefixBytes; ++passed) {
    uint8_t byte = 0;
    if (!reader.u8(&byte)) return false;
  }
  while (!reader.ended()) {
    if (!readField(&reader, message)) return false;
  }
  message->body = bytes.substr(padded(fieldsEnd));
  return true;
}

}  // namespace bulkhead::systemd
