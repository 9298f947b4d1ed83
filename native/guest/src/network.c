#define _GNU_SOURCE
#include "network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "machine.h"
#include "report.h"

// One request of rtnetlink(7), with room for the attributes that are used here.
struct request {
  struct nlmsghdr header;
  union {
    struct ifinfomsg link;
    struct ifaddrmsg address;
    struct rtmsg route;
  } body;
  char attributes[128];
};

static void append(struct request* request, unsigned short type, const void* value, size_t size) {
  struct rtattr* attribute = (struct rtattr*)((char*)request + NLMSG_ALIGN(request->header.nlmsg_len));
  attribute->rta_type = type;
  attribute->rta_len = (unsigned short)RTA_LENGTH(size);
  memcpy(RTA_DATA(attribute), value, size);
  request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + RTA_LENGTH(size);
}

// Sends it and waits for the kernel's answer: an errno.
static int tryAsking(int socket, struct request* request) {
  request->header.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
  struct {
    struct nlmsghdr header;
    struct nlmsgerr error;
    char rest[512];
  } answer;
  if (send(socket, request, request->header.nlmsg_len, 0) < 0 || recv(socket, &answer, sizeof answer, 0) < 0) {
    return errno;
  }
  return answer.header.nlmsg_type == NLMSG_ERROR ? -answer.error.error : 0;
}

static void ask(int socket, struct request* request, const char* step, const char* what) {
  const int error = tryAsking(socket, request);
  if (error != 0) fail(step, what, error);
}

static void setMtu(int socket, unsigned index, const char* text) {
  const unsigned mtu = (unsigned)strtoul(text, NULL, 10);
  struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = RTM_NEWLINK},
                            .body.link = {.ifi_index = (int)index}};
  append(&request, IFLA_MTU, &mtu, sizeof mtu);
  ask(socket, &request, "mtu", text);
}

static void setLink(int socket, unsigned index, const char* name, unsigned flags) {
  struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = RTM_NEWLINK},
                            .body.link = {.ifi_index = (int)index, .ifi_flags = flags, .ifi_change = IFF_UP}};
  ask(socket, &request, "link", name);
}

static void raiseLink(int socket, unsigned index, const char* name) {
  setLink(socket, index, name, IFF_UP);
}

static void setMac(int socket, unsigned index, const char* text) {
  unsigned char mac[6];
  if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) != 6) {
    fail("mac", text, EINVAL);
  }
  struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = RTM_NEWLINK},
                            .body.link = {.ifi_index = (int)index}};
  append(&request, IFLA_ADDRESS, mac, sizeof mac);
  ask(socket, &request, "mac", text);
}

static int parseAddress(const char* text, unsigned char bytes[16]) {
  if (inet_pton(AF_INET, text, bytes) == 1) return AF_INET;
  if (inet_pton(AF_INET6, text, bytes) == 1) return AF_INET6;
  fail("address", text, EINVAL);
}

static size_t sizeOf(int family) {
  return family == AF_INET ? 4 : 16;
}

// The request about an address of the device, `text` being `address/prefix`.
static struct request aboutAddress(unsigned short type, unsigned index, const char* text) {
  char address[64];
  unsigned prefix;
  unsigned char bytes[16];
  if (sscanf(text, "%63[^/]/%u", address, &prefix) != 2) fail("address", text, EINVAL);
  const int family = parseAddress(address, bytes);
  struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)),
                                       .nlmsg_type = type,
                                       .nlmsg_flags = type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_REPLACE : 0},
                            // The host gives each address once, so it is not asked for on the wire.
                            .body.address = {.ifa_family = (unsigned char)family,
                                             .ifa_prefixlen = (unsigned char)prefix,
                                             .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
                                             .ifa_index = index}};
  append(&request, IFA_LOCAL, bytes, sizeOf(family));
  append(&request, IFA_ADDRESS, bytes, sizeOf(family));
  return request;
}

static void addAddress(int socket, unsigned index, const char* text) {
  struct request request = aboutAddress(RTM_NEWADDR, index, text);
  ask(socket, &request, "address", text);
}

// One that the instance took away itself is away.
static void removeAddress(int socket, unsigned index, const char* text) {
  struct request request = aboutAddress(RTM_DELADDR, index, text);
  const int error = tryAsking(socket, &request);
  if (error != 0 && error != EADDRNOTAVAIL) fail("old address", text, error);
}

static void addGateway(int socket, unsigned index, const char* text) {
  unsigned char bytes[16];
  const int family = parseAddress(text, bytes);
  struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
                                       .nlmsg_type = RTM_NEWROUTE,
                                       .nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE},
                            .body.route = {.rtm_family = (unsigned char)family,
                                           .rtm_table = RT_TABLE_MAIN,
                                           .rtm_protocol = RTPROT_BOOT,
                                           .rtm_type = RTN_UNICAST}};
  append(&request, RTA_GATEWAY, bytes, sizeOf(family));
  append(&request, RTA_OIF, &index, sizeof index);
  ask(socket, &request, "route", text);
}

// The device with this hardware address; 0 when there is none yet.
static unsigned findCard(const char* mac, char name[IF_NAMESIZE]) {
  for (unsigned index = 1; index < 16; index++) {
    char path[64];
    char text[32] = "";
    if (if_indextoname(index, name) == NULL) continue;
    snprintf(path, sizeof path, "/sys/class/net/%s/address", name);
    FILE* file = fopen(path, "re");
    const int found = file != NULL && fscanf(file, "%31s", text) == 1 && strcmp(text, mac) == 0;
    if (file != NULL) fclose(file);
    if (found) return index;
  }
  return 0;
}

// As in a container: any port is the instance's own, and neighbours tell it no addresses and no routers. A kernel
// without IPv6 has nothing to be told.
static void setUp(const char* name) {
  char path[96];
  writeFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0", 0);
  snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/accept_ra", name);
  writeFile(path, "0", 0);
  snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/addr_gen_mode", name);
  writeFile(path, "1", 0);
}

static void configure(int channel, unsigned index, const char* name, const struct network* network) {
  if (network->mtu != NULL) setMtu(channel, index, network->mtu);
  raiseLink(channel, index, name);
  for (size_t each = 0; each < network->addressCount; each++) addAddress(channel, index, network->addresses[each]);
  for (size_t each = 0; each < network->gatewayCount; each++) addGateway(channel, index, network->gateways[each]);
}

static int openNetlink(void) {
  const int channel = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (channel < 0) fail("netlink", "", errno);
  return channel;
}

void renewNetwork(const struct network* before, const struct network* after) {
  if (before->mac == NULL || after->mac == NULL) return;
  const int channel = openNetlink();
  char name[IF_NAMESIZE];
  const unsigned index = findCard(before->mac, name);
  if (index == 0) fail("network card", before->mac, ENODEV);
  // Down, it says nothing with the old address, and forgets its neighbours and routes.
  setLink(channel, index, name, 0);
  for (size_t each = 0; each < before->addressCount; each++) removeAddress(channel, index, before->addresses[each]);
  setMac(channel, index, after->mac);
  configure(channel, index, name, after);
  close(channel);
}

void openNetwork(const struct network* network) {
  const int channel = openNetlink();
  raiseLink(channel, if_nametoindex("lo"), "lo");
  if (network->mac != NULL) {
    char name[IF_NAMESIZE];
    unsigned index;
    for (int round = 0; (index = findCard(network->mac, name)) == 0; round++) {
      if (round == kPatienceRounds) fail("network card", network->mac, ENODEV);
      waitRound();
    }
    setUp(name);
    configure(channel, index, name, network);
  }
  close(channel);
}
