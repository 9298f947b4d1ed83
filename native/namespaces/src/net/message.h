// Netlink messages in both directions: a writer that cannot write a wrong length, a reader that cannot read past one.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace bulkhead::net {

/** Longest batch that is encoded, in bytes; well above what one host's rules or a thousand elements need. */
inline constexpr size_t kMaxBatchBytes = 4 << 20;

/** Appends messages and attributes; a length that does not fit its 16-bit field makes the whole batch bad. */
class Writer {
 public:
  /** Starts a message with a family header of `header`; the earlier message, if any, must have been ended. */
  template <class Header>
  void begin(uint16_t type, uint16_t flags, const Header& header) {
    messageAt_ = bytes_.size();
    struct nlmsghdr head = {};
    head.nlmsg_type = type;
    head.nlmsg_flags = flags;
    head.nlmsg_seq = ++sequence_;
    raw(&head, sizeof head);
    raw(&header, sizeof header);
  }
  void end();
  /** The newest message, ended, is answered only when it is refused. */
  void quieten();

  void attribute(uint16_t type, const void* data, size_t size);
  void attribute(uint16_t type, std::string_view data) { attribute(type, data.data(), data.size()); }
  /** With its terminating NUL, as names are. */
  void text(uint16_t type, std::string_view data);
  void u8(uint16_t type, uint8_t value) { attribute(type, &value, sizeof value); }
  void u16(uint16_t type, uint16_t value) { attribute(type, &value, sizeof value); }
  void u32(uint16_t type, uint32_t value) { attribute(type, &value, sizeof value); }
  void u64(uint16_t type, uint64_t value) { attribute(type, &value, sizeof value); }
  void be32(uint16_t type, uint32_t value) { u32(type, __builtin_bswap32(value)); }
  void be64(uint16_t type, uint64_t value) { u64(type, __builtin_bswap64(value)); }
  /** Struct bytes in place, as VETH_INFO_PEER wants them. */
  void raw(const void* data, size_t size);

  /** Opens a nested attribute; close it with the value returned. */
  size_t open(uint16_t type);
  void close(size_t at);

  bool bad() const { return bad_; }
  const std::string& bytes() const { return bytes_; }
  /** Sequence number of the newest message; the first has 1. */
  uint32_t sequence() const { return sequence_; }

 private:
  std::string bytes_;
  size_t messageAt_ = 0;
  uint32_t sequence_ = 0;
  bool bad_ = false;
};

/** Walks attributes of bounded bytes; anything inconsistent ends the walk. */
class Attributes {
 public:
  explicit Attributes(std::string_view bytes) : rest_(bytes) {}

  bool next();
  /** Without the nested and byte-order flags. */
  uint16_t type() const { return type_; }
  std::string_view data() const { return data_; }
  uint32_t u32() const { return number<uint32_t>(); }
  uint16_t u16() const { return number<uint16_t>(); }
  /** Up to the first NUL. */
  std::string_view text() const { return {data_.data(), strnlen(data_.data(), data_.size())}; }

 private:
  template <class Number>
  Number number() const {
    Number value = 0;
    if (data_.size() >= sizeof value) memcpy(&value, data_.data(), sizeof value);
    return value;
  }

  std::string_view rest_;
  std::string_view data_;
  uint16_t type_ = 0;
};

/** Walks the messages of one datagram. */
class Messages {
 public:
  explicit Messages(std::string_view bytes) : rest_(bytes) {}

  bool next();
  const struct nlmsghdr& head() const { return head_; }
  /** What follows the netlink header. */
  std::string_view body() const { return body_; }
  /** What follows a family header of `size` bytes; empty when the message is shorter. */
  std::string_view after(size_t size) const;

 private:
  std::string_view rest_;
  std::string_view body_;
  struct nlmsghdr head_ = {};
};

}  // namespace bulkhead::net
