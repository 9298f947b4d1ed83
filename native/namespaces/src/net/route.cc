// rtnetlink half of request.h; attribute numbers are the kernel's own (linux/if_link.h, linux/rtnetlink.h,
// rtnetlink(7)).
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include "net/request.h"

namespace bulkhead::net {
namespace {

constexpr uint16_t kMake = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
constexpr uint16_t kReplace = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
constexpr uint16_t kChange = NLM_F_REQUEST | NLM_F_ACK;

/** Members that a link and its veth peer share. */
void linkAttributes(Operation& op) {
  Writer& out = op.out();
  if (op.has("name")) out.text(IFLA_IFNAME, op.linkName("name"));
  if (op.has("mac")) {
    const std::string mac = macBytes(op.text("mac"));
    if (mac.empty()) op.fail(op.view().member("mac"), "is no MAC address");
    out.attribute(IFLA_ADDRESS, mac);
  }
  if (op.has("mtu")) out.u32(IFLA_MTU, op.number("mtu", 65535));
  if (op.has("group")) out.u32(IFLA_GROUP, op.number("group"));
  if (op.has("master")) out.u32(IFLA_MASTER, op.number("master"));
  if (op.flag("oneQueue")) {
    out.u32(IFLA_NUM_TX_QUEUES, 1);
    out.u32(IFLA_NUM_RX_QUEUES, 1);
  }
  if (op.has("netns")) out.u32(IFLA_NET_NS_FD, op.number("netns", INT32_MAX));
  if (op.flag("noLinkLocal")) {
    const size_t families = out.open(IFLA_AF_SPEC);
    const size_t six = out.open(AF_INET6);
    out.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    out.close(six);
    out.close(families);
  }
}

struct ifinfomsg linkHeader(Operation& op) {
  struct ifinfomsg header = {};
  if (op.has("index")) header.ifi_index = static_cast<int>(op.number("index", INT32_MAX));
  if (op.has("up")) {
    header.ifi_change = IFF_UP;
    header.ifi_flags = op.flag("up") ? static_cast<unsigned>(IFF_UP) : 0u;
  }
  return header;
}

bool addLink(Operation& op) {
  Writer& out = op.out();
  out.begin(RTM_NEWLINK, kMake, linkHeader(op));
  linkAttributes(op);
  const std::string_view kind = op.text("kind");
  const size_t info = out.open(IFLA_LINKINFO);
  out.text(IFLA_INFO_KIND, kind);
  if (kind == "veth") {
    const size_t data = out.open(IFLA_INFO_DATA);
    const plan::View peerView = op.view().member("peer");
    if (!peerView.isObject()) return op.fail(peerView, "must be an object");
    RequestError peerError;
    Batch unused;
    Operation peer(peerView, &unused, &peerError);
    const size_t nested = out.open(VETH_INFO_PEER);
    const struct ifinfomsg header = linkHeader(peer);
    out.raw(&header, sizeof header);
    // The peer's attributes go into this message, so they are encoded apart and copied.
    linkAttributes(peer);
    if (!peer.ok()) return op.fail(peerView, "has a wrong member");
    const std::string& bytes = unused.messages.bytes();
    out.raw(bytes.data(), bytes.size());
    out.close(nested);
    out.close(data);
  } else if (kind == "bridge") {
    const size_t data = out.open(IFLA_INFO_DATA);
    if (op.flag("noSnooping")) out.u8(IFLA_BR_MCAST_SNOOPING, 0);
    out.close(data);
  } else {
    return op.fail(op.view().member("kind"), "must be bridge or veth");
  }
  out.close(info);
  out.end();
  return true;
}

bool setLink(Operation& op) {
  Writer& out = op.out();
  out.begin(RTM_NEWLINK, kChange, linkHeader(op));
  linkAttributes(op);
  if (op.has("hairpin")) {
    const size_t info = out.open(IFLA_LINKINFO);
    out.text(IFLA_INFO_SLAVE_KIND, "bridge");
    const size_t port = out.open(IFLA_INFO_SLAVE_DATA);
    out.u8(IFLA_BRPORT_MODE, op.flag("hairpin") ? 1 : 0);
    out.close(port);
    out.close(info);
  }
  op.out().end();
  return true;
}

bool deleteLink(Operation& op) {
  // Without an index or a name the kernel deletes the whole group (rtnl_group_dellink).
  if (!op.has("index") && !op.has("name") && !op.has("group")) return op.fail(op.view(), "names no link");
  if (op.has("group") && op.number("group") == 0) return op.fail(op.view(), "would delete every link");
  op.out().begin(RTM_DELLINK, kChange, linkHeader(op));
  linkAttributes(op);
  op.out().end();
  return true;
}

/** The address of `name`, or nothing after a failure. */
std::string addressOf(Operation& op, const char* name) {
  std::string bytes = addressBytes(op.text(name));
  if (bytes.empty()) op.fail(op.view().member(name), "is no IP address");
  return bytes;
}

uint8_t familyOf(const std::string& address) {
  return address.size() == 4 ? AF_INET : AF_INET6;
}

uint8_t prefixOf(Operation& op, const std::string& address) {
  return static_cast<uint8_t>(op.number("prefix", address.size() == 4 ? 32 : 128));
}

bool address(Operation& op, uint16_t type, uint16_t flags) {
  const std::string bytes = addressOf(op, "address");
  struct ifaddrmsg header = {};
  header.ifa_family = familyOf(bytes);
  header.ifa_prefixlen = prefixOf(op, bytes);
  // Nobody else can have it, and detection would keep it unusable for a second.
  header.ifa_flags = bytes.size() == 16 ? IFA_F_NODAD : 0;
  header.ifa_scope = op.flag("linkScope") ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  header.ifa_index = op.number("index", INT32_MAX);
  op.out().begin(type, flags, header);
  op.out().attribute(IFA_LOCAL, bytes);
  op.out().attribute(IFA_ADDRESS, bytes);
  op.out().end();
  return true;
}

bool addRoute(Operation& op) {
  const std::string gateway = addressOf(op, "gateway");
  struct rtmsg header = {};
  header.rtm_family = familyOf(gateway);
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_protocol = RTPROT_STATIC;
  header.rtm_scope = RT_SCOPE_UNIVERSE;
  header.rtm_type = RTN_UNICAST;
  std::string destination;
  if (op.has("destination")) {
    destination = addressOf(op, "destination");
    if (destination.size() != gateway.size()) return op.fail(op.view(), "mixes IPv4 and IPv6");
    header.rtm_dst_len = prefixOf(op, destination);
  }
  op.out().begin(RTM_NEWROUTE, kReplace, header);
  if (!destination.empty()) op.out().attribute(RTA_DST, destination);
  op.out().attribute(RTA_GATEWAY, gateway);
  op.out().u32(RTA_OIF, op.number("index", INT32_MAX));
  op.out().end();
  return true;
}

bool addNeighbour(Operation& op) {
  const std::string bytes = addressOf(op, "address");
  const std::string mac = macBytes(op.text("mac"));
  if (mac.empty()) return op.fail(op.view().member("mac"), "is no MAC address");
  struct ndmsg header = {};
  header.ndm_family = familyOf(bytes);
  header.ndm_ifindex = static_cast<int>(op.number("index", INT32_MAX));
  header.ndm_state = NUD_PERMANENT;
  op.out().begin(RTM_NEWNEIGH, kReplace, header);
  op.out().attribute(NDA_DST, bytes);
  op.out().attribute(NDA_LLADDR, mac);
  op.out().end();
  return true;
}

// tc-tbf(8): bursts in ticks of 64 ns (PSCHED_SHIFT 6), rates in bytes per second.
constexpr uint64_t kNsPerTick = 64;
constexpr uint64_t kNsPerSecond = 1'000'000'000;

bool setBucket(Operation& op) {
  const uint64_t rate = op.bigNumber("bitsPerSec") / 8;
  const uint32_t burst = op.number("burstBytes");
  if (rate == 0 || burst == 0) return op.fail(op.view(), "needs a rate of at least 8 bits and a burst");
  struct tcmsg header = {};
  header.tcm_ifindex = static_cast<int>(op.number("index", INT32_MAX));
  header.tcm_handle = 0x10000;  // 1:
  header.tcm_parent = TC_H_ROOT;
  op.out().begin(RTM_NEWQDISC, kReplace, header);
  op.out().text(TCA_KIND, "tbf");
  struct tc_tbf_qopt options = {};
  options.rate.rate = rate > UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(rate);
  options.rate.linklayer = TC_LINKLAYER_ETHERNET;
  options.limit = op.number("limitBytes");
  const uint64_t ticks = burst * kNsPerSecond / rate / kNsPerTick;
  options.buffer = ticks > UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(ticks);
  const size_t nested = op.out().open(TCA_OPTIONS);
  op.out().attribute(TCA_TBF_PARMS, &options, sizeof options);
  if (rate > UINT32_MAX) op.out().u64(TCA_TBF_RATE64, rate);
  op.out().u32(TCA_TBF_BURST, burst);
  op.out().close(nested);
  op.out().end();
  return true;
}

bool encodeOne(Operation& op, std::string_view name) {
  if (name == "link.add") return addLink(op);
  if (name == "link.set") return setLink(op);
  if (name == "link.delete") return deleteLink(op);
  if (name == "address.add") return address(op, RTM_NEWADDR, kReplace);
  if (name == "address.delete") return address(op, RTM_DELADDR, kChange);
  if (name == "route.add") return addRoute(op);
  if (name == "neighbour.add") return addNeighbour(op);
  if (name == "bucket.set") return setBucket(op);
  return op.fail(op.view(), "is no operation on links");
}

}  // namespace

bool encodeRoute(std::string_view json, Batch* batch, RequestError* error) {
  return encodeEach(json, batch, error, encodeOne);
}

}  // namespace bulkhead::net
