#include "net/message.h"

#include <algorithm>

namespace bulkhead::net {
namespace {

constexpr size_t kAlign = 4;  // NLMSG_ALIGNTO and NLA_ALIGNTO

size_t aligned(size_t size) {
  return (size + kAlign - 1) & ~(kAlign - 1);
}

}  // namespace

void Writer::raw(const void* data, size_t size) {
  if (bad_ || size > kMaxBatchBytes || bytes_.size() + aligned(size) > kMaxBatchBytes) {
    bad_ = true;
    return;
  }
  bytes_.append(static_cast<const char*>(data), size);
  bytes_.append(aligned(size) - size, '\0');
}

void Writer::end() {
  if (bad_) return;
  const uint32_t length = static_cast<uint32_t>(bytes_.size() - messageAt_);
  memcpy(bytes_.data() + messageAt_, &length, sizeof length);
}

void Writer::quieten() {
  if (bad_) return;
  struct nlmsghdr head;
  memcpy(&head, bytes_.data() + messageAt_, sizeof head);
  head.nlmsg_flags &= static_cast<uint16_t>(~NLM_F_ACK);
  memcpy(bytes_.data() + messageAt_, &head, sizeof head);
}

void Writer::attribute(uint16_t type, const void* data, size_t size) {
  // nla_len is 16 bits wide; a longer value would wrap around and be read as other attributes.
  if (size > UINT16_MAX - sizeof(struct nlattr)) {
    bad_ = true;
    return;
  }
  const struct nlattr head = {static_cast<uint16_t>(sizeof head + size), type};
  raw(&head, sizeof head);
  if (size > 0) raw(data, size);
}

void Writer::text(uint16_t type, std::string_view data) {
  const std::string terminated(data);
  attribute(type, terminated.c_str(), terminated.size() + 1);
}

size_t Writer::open(uint16_t type) {
  const size_t at = bytes_.size();
  const struct nlattr head = {0, static_cast<uint16_t>(type | NLA_F_NESTED)};
  raw(&head, sizeof head);
  return at;
}

void Writer::close(size_t at) {
  if (bad_) return;
  const size_t size = bytes_.size() - at;
  if (size > UINT16_MAX) {
    bad_ = true;
    return;
  }
  const uint16_t length = static_cast<uint16_t>(size);
  memcpy(bytes_.data() + at, &length, sizeof length);
}

bool Attributes::next() {
  struct nlattr head;
  if (rest_.size() < sizeof head) return false;
  memcpy(&head, rest_.data(), sizeof head);
  if (head.nla_len < sizeof head || head.nla_len > rest_.size()) return false;
  type_ = head.nla_type & NLA_TYPE_MASK;
  data_ = rest_.substr(sizeof head, head.nla_len - sizeof head);
  rest_.remove_prefix(std::min(aligned(head.nla_len), rest_.size()));
  return true;
}

bool Messages::next() {
  if (rest_.size() < sizeof head_) return false;
  memcpy(&head_, rest_.data(), sizeof head_);
  if (head_.nlmsg_len < sizeof head_ || head_.nlmsg_len > rest_.size()) return false;
  body_ = rest_.substr(sizeof head_, head_.nlmsg_len - sizeof head_);
  rest_.remove_prefix(std::min(aligned(head_.nlmsg_len), rest_.size()));
  return true;
}

std::string_view Messages::after(size_t size) const {
  return body_.size() < size ? std::string_view()
                             : body_.substr(aligned(size) < body_.size() ? aligned(size) : body_.size());
}

}  // namespace bulkhead::net
