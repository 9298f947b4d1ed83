#include "net/request.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>

namespace bulkhead::net {
namespace {

constexpr uint32_t kMaxOperations = 10'000;
constexpr size_t kMaxRuleName = 127;  // NFT_NAME_MAXLEN is 256; ours are shorter

int hexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

std::string addressBytes(std::string_view text) {
  unsigned char bytes[16];
  const std::string terminated(text);
  if (inet_pton(AF_INET, terminated.c_str(), bytes) == 1) return {reinterpret_cast<char*>(bytes), 4};
  if (inet_pton(AF_INET6, terminated.c_str(), bytes) == 1) return {reinterpret_cast<char*>(bytes), 16};
  return {};
}

std::string hexBytes(std::string_view text) {
  std::string bytes;
  if (text.size() % 2 != 0) return {};
  for (size_t at = 0; at < text.size(); at += 2) {
    const int high = hexDigit(text[at]);
    const int low = hexDigit(text[at + 1]);
    if (high < 0 || low < 0) return {};
    bytes.push_back(static_cast<char>(high * 16 + low));
  }
  return bytes;
}

std::string macBytes(std::string_view text) {
  if (text.size() != 17) return {};
  std::string digits;
  for (size_t at = 0; at < text.size(); ++at) {
    if (at % 3 != 2) {
      digits.push_back(text[at]);
    } else if (text[at] != ':') {
      return {};
    }
  }
  return hexBytes(digits);
}

bool Operation::fail(const plan::View& at, const char* message) {
  if (ok()) *error_ = {at.pointer(), message};
  return false;
}

bool Operation::flag(const char* name) {
  const plan::View member = view_.member(name);
  if (!member.present()) return false;
  if (!member.value().IsBool()) fail(member, "must be true or false");
  return member.value().IsTrue();
}

std::string_view Operation::text(const char* name) {
  const plan::View member = view_.member(name);
  if (!member.isString()) {
    fail(member, "must be text");
    return {};
  }
  return member.text();
}

std::string_view Operation::linkName(const char* name) {
  const std::string_view found = text(name);
  const bool valid = !found.empty() && found.size() < 16 && found != "." && found != ".." &&
                     std::all_of(found.begin(), found.end(),
                                 [](char c) { return isgraph(static_cast<unsigned char>(c)) && c != '/' && c != ':'; });
  if (!valid) fail(view_.member(name), "is no name of a network interface");
  return valid ? found : std::string_view();
}

std::string_view Operation::ruleName(const char* name) {
  const std::string_view found = text(name);
  const bool valid = !found.empty() && found.size() <= kMaxRuleName && found.find('\0') == std::string_view::npos;
  if (!valid) fail(view_.member(name), "must have 1 to 127 bytes");
  return valid ? found : std::string_view();
}

uint32_t Operation::number(const char* name, uint32_t maximum) {
  const plan::View member = view_.member(name);
  if (!member.present() || !member.value().IsUint() || member.value().GetUint() > maximum) {
    fail(member, "must be a whole number in its range");
    return 0;
  }
  return member.value().GetUint();
}

uint64_t Operation::bigNumber(const char* name) {
  const plan::View member = view_.member(name);
  if (!member.present() || !member.value().IsUint64()) {
    fail(member, "must be a whole number");
    return 0;
  }
  return member.value().GetUint64();
}

void Operation::expect(uint32_t index) {
  batch_->expected.push_back({out().sequence(), index, flag("mayExist"), flag("mayBeMissing")});
}

bool encodeEach(std::string_view json, Batch* batch, RequestError* error,
                bool (*encode)(Operation& operation, std::string_view op)) {
  rapidjson::Document document;
  std::string reason;
  if (!plan::parseBounded(json, &document, &reason)) {
    *error = {"", reason};
    return false;
  }
  const plan::View list(document);
  if (!list.isArray() || list.count() > kMaxOperations) {
    *error = {"", "must be a list of at most 10000 operations"};
    return false;
  }
  for (uint32_t index = 0; index < list.count(); ++index) {
    const plan::View view = list.element(index);
    Operation operation(view, batch, error);
    if (!view.isObject()) return operation.fail(view, "must be an object");
    const std::string_view op = operation.text("op");
    if (!operation.ok()) return false;
    if (!encode(operation, op)) return operation.fail(view, "cannot be encoded");
    if (batch->messages.bad()) return operation.fail(view, "is too long for a netlink message");
    operation.expect(index);
    // The kernel works through them in order, so the last one's answer tells that there are no others.
    if (index + 1 < list.count()) batch->messages.quieten();
    if (!operation.ok()) return false;
  }
  return true;
}

}  // namespace bulkhead::net
