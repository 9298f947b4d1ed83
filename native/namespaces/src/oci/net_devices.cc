#include "oci/net_devices.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sys/syscalls.h"

namespace bulkhead::oci {
namespace {

constexpr uint16_t kChange = NLM_F_REQUEST | NLM_F_ACK;
constexpr uint16_t kReplace = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;

/** Sends what is written as one operation, and waits for the kernel's answer. */
template <class Write>
Status transact(int socket, const char* what, std::string_view device, Write write) {
  net::Batch batch;
  write(&batch.messages);
  batch.messages.end();
  batch.expected.push_back({batch.messages.sequence(), 0, false, false});
  net::Refused refused;
  if (net::transact(socket, batch, &refused)) return Done{};
  return failure(what, refused.error.err, device);
}

struct LinkChange {
  uint32_t index;
  /** IFF_UP or 0, when `changesState`. */
  unsigned flags;
  bool changesState;
};

struct ifinfomsg headerOf(const LinkChange& change) {
  struct ifinfomsg header = {};
  header.ifi_index = static_cast<int>(change.index);
  header.ifi_flags = change.flags;
  header.ifi_change = change.changesState ? IFF_UP : 0;
  return header;
}

Status setState(int socket, uint32_t index, bool up, std::string_view device) {
  return transact(socket, up ? "set up" : "set down", device, [&](net::Writer* out) {
    out->begin(RTM_NEWLINK, kChange, headerOf({index, up ? unsigned{IFF_UP} : 0u, true}));
  });
}

Status rename(int socket, uint32_t index, std::string_view name) {
  return transact(socket, "rename", name, [&](net::Writer* out) {
    out->begin(RTM_NEWLINK, kChange, headerOf({index, 0, false}));
    out->text(IFLA_IFNAME, name);
  });
}

/** To the namespace `space`, where it is called `name`. */
Status send(int socket, uint32_t index, int space, std::string_view name) {
  return transact(socket, "move", name, [&](net::Writer* out) {
    out->begin(RTM_NEWLINK, kChange, headerOf({index, 0, false}));
    out->u32(IFLA_NET_NS_FD, static_cast<uint32_t>(space));
    out->text(IFLA_IFNAME, name);
  });
}

Status addAddress(int socket, uint32_t index, const net::Address& address, std::string_view device) {
  const bool six = address.bytes.size() == 16;
  struct ifaddrmsg header = {};
  header.ifa_family = six ? AF_INET6 : AF_INET;
  header.ifa_prefixlen = static_cast<uint8_t>(address.prefix);
  // It was this link's before, so nobody else can have it.
  header.ifa_flags = six ? IFA_F_NODAD : 0;
  header.ifa_scope = RT_SCOPE_UNIVERSE;
  header.ifa_index = index;
  return transact(socket, "add the address", device, [&](net::Writer* out) {
    out->begin(RTM_NEWADDR, kReplace, header);
    out->attribute(IFA_LOCAL, address.bytes);
    out->attribute(IFA_ADDRESS, address.bytes);
    if (!address.broadcast.empty()) out->attribute(IFA_BROADCAST, address.broadcast);
  });
}

Result<net::Link> findLink(int socket, std::string_view name) {
  for (net::Link& link : TRY(net::listLinks(socket))) {
    if (link.name == name) return std::move(link);
  }
  return failure("find", ENODEV, name);
}

Result<std::vector<net::Address>> addressesOf(int socket, uint32_t index) {
  std::vector<net::Address> addresses = TRY(net::listAddresses(socket));
  std::erase_if(addresses, [&](const net::Address& address) {
    return address.index != index || !address.permanent || address.scope != RT_SCOPE_UNIVERSE;
  });
  return addresses;
}

}  // namespace

void NetDevices::read(const plan::View& spec) {
  const plan::View linuxPart = spec.member("linux");
  const plan::View devices = linuxPart.member("netDevices");
  if (!devices.isObject()) return;
  const plan::Members members(devices);
  for (uint32_t index = 0; index < members.count(); ++index) {
    const plan::View entry = members.view(index);
    const plan::View name = entry.member("name");
    const std::string outside(members.name(index));
    wanted_.push_back({outside, name.isString() ? std::string(name.text()) : outside});
  }
  const plan::View spaces = linuxPart.member("namespaces");
  for (uint32_t index = 0; index < spaces.count(); ++index) {
    const plan::View space = spaces.element(index);
    const plan::View path = space.member("path");
    if (space.member("type").text() == "network" && path.isString()) joinedPath_ = path.text();
  }
}

Status NetDevices::moveOne(const Wanted& wanted, int host, int inside) {
  const net::Link link = TRY(findLink(host, wanted.name));
  std::vector<net::Address> addresses = TRY(addressesOf(host, link.index));
  // A name that only this runtime has for it: the number may change on the way, and the wanted name may be a pattern.
  const std::string passing = "bhdev" + std::to_string(getpid());
  TRY(setState(host, link.index, false, wanted.name));
  Status sent = send(host, link.index, space_.get(), passing);
  if (!sent.ok()) {
    if (link.up) (void)setState(host, link.index, true, wanted.name).ok();
    return sent;
  }
  const net::Link arrived = TRY(findLink(inside, passing));
  moved_.push_back({wanted.name, link.up, addresses, arrived.index});
  TRY(rename(inside, arrived.index, wanted.nameInside));
  for (const net::Address& address : addresses) TRY(addAddress(inside, arrived.index, address, wanted.name));
  return setState(inside, arrived.index, true, wanted.name);
}

bool NetDevices::move(Session* session, const std::string& space) {
  const auto moveAll = [&]() -> Status {
    hostSpace_ = TRY(sys::openAt(AT_FDCWD, "/proc/self/ns/net", O_RDONLY));
    space_ = TRY(sys::openAt(AT_FDCWD, space.c_str(), O_RDONLY));
    const struct stat ours = TRY(sys::statusOf(hostSpace_.get()));
    const struct stat theirs = TRY(sys::statusOf(space_.get()));
    if (ours.st_ino == theirs.st_ino) return failure("move", EPERM, "to the host's own network");
    Fd host = TRY(net::openSocket(net::Protocol::route, -1));
    Fd inside = TRY(net::openSocket(net::Protocol::route, space_.get()));
    for (const Wanted& wanted : wanted_) TRY(moveOne(wanted, host.get(), inside.get()));
    return Done{};
  };
  Status done = moveAll();
  return done.ok() ? true : session->fail("linux.netDevices", done.error());
}

Status NetDevices::giveBack(const Moved& moved, int host, int inside) {
  TRY(setState(inside, moved.indexInside, false, moved.name));
  TRY(send(inside, moved.indexInside, hostSpace_.get(), moved.name));
  const net::Link link = TRY(findLink(host, moved.name));
  // Going up loses IPv6 addresses of a link that was down; they come after it.
  if (moved.up) TRY(setState(host, link.index, true, moved.name));
  for (const net::Address& address : moved.addresses) TRY(addAddress(host, link.index, address, moved.name));
  return Done{};
}

NetDevices::~NetDevices() {
  if (moved_.empty()) return;
  Result<Fd> host = net::openSocket(net::Protocol::route, -1);
  Result<Fd> inside = net::openSocket(net::Protocol::route, space_.get());
  if (!host.ok() || !inside.ok()) return;
  for (const Moved& moved : moved_) (void)giveBack(moved, host.value().get(), inside.value().get()).ok();
}

}  // namespace bulkhead::oci
