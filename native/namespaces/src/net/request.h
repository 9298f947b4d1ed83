// Lists of network operations as JSON, turned into netlink messages. Nothing here talks to the kernel.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "net/message.h"
#include "plan/json.h"

namespace bulkhead::net {

/** What one operation of the list means by an answer that is no success. */
struct Expectation {
  uint32_t sequence = 0;
  /** its place in the list */
  uint32_t index = 0;
  /** errno that counts as done: EEXIST for what may be there, ENOENT or ENODEV for what may be gone; 0: none */
  bool mayExist = false;
  bool mayBeMissing = false;
};

struct Batch {
  Writer messages;
  std::vector<Expectation> expected;
};

struct RequestError {
  std::string pointer;
  std::string message;
};

/** rtnetlink: links, addresses, routes, neighbours, queueing disciplines. */
bool encodeRoute(std::string_view json, Batch* batch, RequestError* error);
/** nftables: tables, chains, rules, sets, maps and their elements, as one transaction. */
bool encodeRules(std::string_view json, Batch* batch, RequestError* error);

/** One operation's fields; the first wrong one is remembered, later reads answer with defaults. */
class Operation {
 public:
  Operation(const plan::View& view, Batch* batch, RequestError* error) : view_(view), batch_(batch), error_(error) {}

  Writer& out() { return batch_->messages; }
  const plan::View& view() const { return view_; }
  bool ok() const { return error_->message.empty(); }
  bool fail(const plan::View& at, const char* message);
  bool has(const char* name) const { return view_.member(name).present(); }
  bool flag(const char* name);
  std::string_view text(const char* name);
  /** A network interface's name: 1 to 15 bytes without `/` or blanks (dev_valid_name). */
  std::string_view linkName(const char* name);
  /** A name of the rule set: 1 to 127 bytes. */
  std::string_view ruleName(const char* name);
  uint32_t number(const char* name, uint32_t maximum = UINT32_MAX);
  uint64_t bigNumber(const char* name);
  /** The message just ended is this operation's. */
  void expect(uint32_t index);

 private:
  const plan::View& view_;
  Batch* batch_;
  RequestError* error_;
};

/** 4 or 16 bytes of an IP address; empty when `text` is none. */
std::string addressBytes(std::string_view text);
/** 6 bytes of `aa:bb:…`; empty when `text` is none. */
std::string macBytes(std::string_view text);
/** Bytes of an even number of hex digits; empty when `text` is none. */
std::string hexBytes(std::string_view text);

/** Parses the list and calls `encode` for each member; at most 10,000. */
bool encodeEach(std::string_view json, Batch* batch, RequestError* error,
                bool (*encode)(Operation& operation, std::string_view op));

}  // namespace bulkhead::net
