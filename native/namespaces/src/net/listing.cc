#include "net/listing.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

namespace bulkhead::net {
namespace {

constexpr uint16_t kDump = NLM_F_REQUEST | NLM_F_DUMP;

constexpr uint16_t rulesType(uint16_t type) {
  return static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type);
}

template <class Header>
bool headerOf(std::string_view body, Header* header) {
  if (body.size() < sizeof *header) return false;
  memcpy(header, body.data(), sizeof *header);
  return true;
}

template <class Item, class Decode>
Result<std::vector<Item>> list(int socket, const Writer& request, Decode decode) {
  const std::vector<std::string> datagrams = TRY(dump(socket, request.bytes()));
  std::vector<Item> items;
  for (const std::string& datagram : datagrams) decode(datagram, &items);
  return items;
}

}  // namespace

void decodeLinks(std::string_view datagram, std::vector<Link>* links) {
  for (Messages messages(datagram); messages.next();) {
    struct ifinfomsg header;
    if (messages.head().nlmsg_type != RTM_NEWLINK || !headerOf(messages.body(), &header)) continue;
    Link link;
    link.index = static_cast<uint32_t>(header.ifi_index);
    link.up = (header.ifi_flags & IFF_UP) != 0;
    for (Attributes each(messages.after(sizeof header)); each.next();) {
      if (each.type() == IFLA_IFNAME) link.name = each.text();
      if (each.type() == IFLA_GROUP) link.group = each.u32();
      if (each.type() == IFLA_MASTER) link.master = each.u32();
      if (each.type() == IFLA_MTU) link.mtu = each.u32();
      if (each.type() == IFLA_ADDRESS && each.data().size() == 6) link.mac = each.data();
      if (each.type() != IFLA_LINKINFO) continue;
      for (Attributes info(each.data()); info.next();) {
        if (info.type() == IFLA_INFO_KIND) link.kind = info.text();
      }
    }
    links->push_back(std::move(link));
  }
}

void decodeAddresses(std::string_view datagram, std::vector<Address>* addresses) {
  for (Messages messages(datagram); messages.next();) {
    struct ifaddrmsg header;
    if (messages.head().nlmsg_type != RTM_NEWADDR || !headerOf(messages.body(), &header)) continue;
    Address address;
    address.index = header.ifa_index;
    address.prefix = header.ifa_prefixlen;
    address.scope = header.ifa_scope;
    address.permanent = (header.ifa_flags & IFA_F_PERMANENT) != 0;
    for (Attributes each(messages.after(sizeof header)); each.next();) {
      const bool sized = each.data().size() == 4 || each.data().size() == 16;
      // IPv6 has IFA_ADDRESS alone; on point-to-point IPv4 links IFA_LOCAL is ours.
      if (each.type() == IFA_BROADCAST && sized) address.broadcast = each.data();
      if (each.type() == IFA_LOCAL && sized) address.bytes = each.data();
      if (each.type() == IFA_ADDRESS && sized && address.bytes.empty()) address.bytes = each.data();
    }
    if (!address.bytes.empty()) addresses->push_back(std::move(address));
  }
}

void decodeTables(std::string_view datagram, std::vector<Table>* tables) {
  for (Messages messages(datagram); messages.next();) {
    struct nfgenmsg header;
    if (messages.head().nlmsg_type != rulesType(NFT_MSG_NEWTABLE) || !headerOf(messages.body(), &header)) continue;
    if (header.nfgen_family != NFPROTO_INET && header.nfgen_family != NFPROTO_BRIDGE) continue;
    Table table;
    table.family = header.nfgen_family == NFPROTO_INET ? "inet" : "bridge";
    for (Attributes each(messages.after(sizeof header)); each.next();) {
      if (each.type() == NFTA_TABLE_NAME) table.name = each.text();
    }
    if (!table.name.empty()) tables->push_back(std::move(table));
  }
}

void decodeElements(std::string_view datagram, std::vector<std::string>* keys) {
  for (Messages messages(datagram); messages.next();) {
    if (messages.head().nlmsg_type != rulesType(NFT_MSG_NEWSETELEM)) continue;
    for (Attributes each(messages.after(sizeof(struct nfgenmsg))); each.next();) {
      if (each.type() != NFTA_SET_ELEM_LIST_ELEMENTS) continue;
      for (Attributes element(each.data()); element.next();) {
        for (Attributes part(element.data()); part.next();) {
          if (part.type() != NFTA_SET_ELEM_KEY) continue;
          for (Attributes value(part.data()); value.next();) {
            if (value.type() == NFTA_DATA_VALUE) keys->emplace_back(value.data());
          }
        }
      }
    }
  }
}

Result<std::vector<Link>> listLinks(int socket) {
  Writer request;
  request.begin(RTM_GETLINK, kDump, ifinfomsg{});
  request.end();
  return list<Link>(socket, request, decodeLinks);
}

Result<std::vector<Address>> listAddresses(int socket) {
  Writer request;
  request.begin(RTM_GETADDR, kDump, ifaddrmsg{});
  request.end();
  return list<Address>(socket, request, decodeAddresses);
}

Result<std::vector<Table>> listTables(int socket) {
  Writer request;
  request.begin(rulesType(NFT_MSG_GETTABLE), kDump, nfgenmsg{NFPROTO_UNSPEC, NFNETLINK_V0, 0});
  request.end();
  return list<Table>(socket, request, decodeTables);
}

Result<std::vector<std::string>> listElements(int socket, const Table& table, std::string_view set) {
  Writer request;
  const uint8_t family = table.family == "inet" ? NFPROTO_INET : NFPROTO_BRIDGE;
  request.begin(rulesType(NFT_MSG_GETSETELEM), kDump, nfgenmsg{family, NFNETLINK_V0, 0});
  request.text(NFTA_SET_ELEM_LIST_TABLE, table.name);
  request.text(NFTA_SET_ELEM_LIST_SET, set);
  request.end();
  return list<std::string>(socket, request, decodeElements);
}

}  // namespace bulkhead::net
