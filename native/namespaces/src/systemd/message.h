// D-Bus messages (dbus-specification, "Message Protocol"), little-endian: a writer for calls, a bounded reader for what
// comes back. Nothing here talks to anybody.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bulkhead::systemd {

/** Longer messages are refused in both directions; what systemd answers to our calls has a few hundred bytes. */
inline constexpr size_t kMaxMessageBytes = 1 << 20;
/** Bytes of a message from which its length is known. */
inline constexpr size_t kPrefixBytes = 16;

enum class MessageType : uint8_t { call = 1, reply = 2, error = 3, signal = 4 };

/** Appends values, each padded to its own alignment from the beginning of the text. */
class Values {
 public:
  void u8(uint8_t value) { bytes_.push_back(static_cast<char>(value)); }
  void u32(uint32_t value) { number(value, sizeof value); }
  void u64(uint64_t value) { number(value, sizeof value); }
  /** A D-Bus boolean, which has four bytes. */
  void flag(bool value) { u32(value ? 1 : 0); }
  /** A string or an object path. */
  void text(std::string_view value);
  void signature(std::string_view value);
  void align(size_t alignment) { bytes_.append((alignment - bytes_.size() % alignment) % alignment, '\0'); }
  struct Array {
    size_t lengthAt;
    size_t start;
  };
  /** Opens an array; close it with the value returned. `alignment` is that of its elements: 8 for structs. */
  Array openArray(size_t alignment);
  void closeArray(const Array& array);
  const std::string& bytes() const { return bytes_; }

 private:
  void number(uint64_t value, size_t size);

  std::string bytes_;
};

struct Call {
  std::string_view destination;
  std::string_view path;
  std::string_view interface;
  std::string_view member;
  /** Of the body; empty: none. */
  std::string_view signature;
  std::string_view body;
};

/** The whole message; empty when it would be longer than a message may be. */
std::string encodeCall(const Call& call, uint32_t serial);

/** Reads values where Values writes them; the first that is not there makes every later one fail as well. */
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  bool u8(uint8_t* value);
  bool u32(uint32_t* value);
  bool text(std::string_view* value);
  bool signature(std::string_view* value);
  bool align(size_t alignment);
  /** Passes over one value of the complete type that `types` begins with, and takes that type away. */
  bool skip(std::string_view* types, int depth = 0);
  size_t at() const { return at_; }
  bool ended() const { return at_ == bytes_.size(); }

 private:
  bool take(size_t size, std::string_view* taken);

  std::string_view bytes_;
  size_t at_ = 0;
  bool bad_ = false;
};

/** A message that came; text points into its bytes. */
struct Message {
  MessageType type = MessageType::call;
  /** The call that this answers; 0: none. */
  uint32_t answers = 0;
  std::string_view member;
  std::string_view interface;
  std::string_view errorName;
  std::string_view signature;
  std::string_view body;
};

/** Length of the message whose first kPrefixBytes these are; 0 when no message of ours or too long. */
size_t messageBytes(std::string_view prefix);
/** False on anything but one whole well-formed message. */
bool decodeMessage(std::string_view bytes, Message* message);

}  // namespace bulkhead::systemd
