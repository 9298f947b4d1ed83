// What rules compare and do, and the values in sets; used by rules.cc.
#pragma once

#include <string>

#include "net/request.h"

namespace bulkhead::net {

inline constexpr uint32_t kMaxParts = 4;

/** Type of a set's keys or a map's data: one value, or several joined, each padded to 4 bytes. */
struct ValueType {
  uint32_t parts = 0;
  /** bytes of each part without padding */
  uint32_t sizes[kMaxParts] = {};
  uint8_t kinds[kMaxParts] = {};
  /** all parts with padding; a single part without */
  uint32_t bytes = 0;
  /** number by which nft(8) chooses how to show it; the kernel does not look */
  uint32_t display = 0;
};

/** Reads a list of type names (ifname, mac, ipv4, ipv6, protocol, port) from an operation's member. */
bool readType(Operation& op, const char* member, ValueType* type);
/** Bytes of one value: a list with one entry per part. */
bool encodeValue(Operation& op, const plan::View& list, const ValueType& type, std::string* bytes);
/** NFTA_RULE_EXPRESSIONS from a list of expressions. */
bool encodeExpressions(Operation& op, const plan::View& list);

}  // namespace bulkhead::net
