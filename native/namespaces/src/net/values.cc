#include <net/if.h>
#include <netinet/in.h>

#include "net/expressions.h"

namespace bulkhead::net {
namespace {

struct Kind {
  std::string_view name;
  uint32_t size;
  /** include/datatype.h of nftables: enum datatypes */
  uint8_t display;
};
constexpr Kind kKinds[] = {
    {"ifname", IFNAMSIZ, 41}, {"mac", 6, 9}, {"ipv4", 4, 7}, {"ipv6", 16, 8}, {"protocol", 1, 12}, {"port", 2, 13},
};
constexpr uint8_t kIfname = 0, kMac = 1, kIpv4 = 2, kIpv6 = 3, kProtocol = 4;

constexpr uint32_t kDisplayBits = 6;  // TYPE_BITS of nftables

bool encodePart(Operation& op, const plan::View& part, uint8_t kind, std::string* bytes) {
  if (kind == kIfname || kind == kMac || kind == kIpv4 || kind == kIpv6) {
    if (!part.isString()) return op.fail(part, "must be text");
    if (kind == kIfname) {
      *bytes = part.text();
      if (bytes->empty() || bytes->size() >= IFNAMSIZ) return op.fail(part, "is no name of a network interface");
      bytes->resize(IFNAMSIZ);
      return true;
    }
    *bytes = kind == kMac ? macBytes(part.text()) : addressBytes(part.text());
    return bytes->size() == kKinds[kind].size || op.fail(part, "is no address of its kind");
  }
  if (kind == kProtocol) {
    if (part.isString() && part.text() == "tcp") return bytes->assign(1, IPPROTO_TCP), true;
    if (part.isString() && part.text() == "udp") return bytes->assign(1, IPPROTO_UDP), true;
    return op.fail(part, "must be tcp or udp");
  }
  if (!part.present() || !part.value().IsUint() || part.value().GetUint() > UINT16_MAX) {
    return op.fail(part, "must be a port");
  }
  const uint32_t port = part.value().GetUint();
  bytes->assign({static_cast<char>(port >> 8), static_cast<char>(port & 0xff)});
  return true;
}

}  // namespace

bool readType(Operation& op, const char* member, ValueType* type) {
  const plan::View list = op.view().member(member);
  if (list.count() == 0 || list.count() > kMaxParts) return op.fail(list, "must have 1 to 4 types");
  for (uint32_t part = 0; part < list.count(); ++part) {
    const plan::View name = list.element(part);
    size_t kind = 0;
    while (kind < std::size(kKinds) && !(name.isString() && name.text() == kKinds[kind].name)) ++kind;
    if (kind == std::size(kKinds)) return op.fail(name, "is no type of value");
    type->kinds[part] = static_cast<uint8_t>(kind);
    type->sizes[part] = kKinds[kind].size;
    type->bytes += list.count() == 1 ? kKinds[kind].size : (kKinds[kind].size + 3) & ~3u;
    type->display = type->display << kDisplayBits | kKinds[kind].display;
  }
  type->parts = list.count();
  return true;
}

bool encodeValue(Operation& op, const plan::View& list, const ValueType& type, std::string* bytes) {
  bytes->clear();
  if (list.count() != type.parts) return op.fail(list, "must have one entry for each type");
  for (uint32_t part = 0; part < type.parts; ++part) {
    std::string encoded;
    const plan::View entry = list.element(part);
    if (!encodePart(op, entry, type.kinds[part], &encoded)) return false;
    if (type.parts > 1) encoded.resize((encoded.size() + 3) & ~size_t{3});
    bytes->append(encoded);
  }
  return true;
}

}  // namespace bulkhead::net
