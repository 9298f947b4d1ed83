/* advertise LINK: says twenty times to all on the link that a router is here, and to which network they belong. */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **arguments) {
  if (count != 2) return 2;
  struct {
    struct nd_router_advert head;
    struct nd_opt_prefix_info prefix;
  } message;
  memset(&message, 0, sizeof message);
  message.head.nd_ra_type = ND_ROUTER_ADVERT;
  message.head.nd_ra_curhoplimit = 64;
  message.head.nd_ra_router_lifetime = htons(1800);
  message.prefix.nd_opt_pi_type = ND_OPT_PREFIX_INFORMATION;
  message.prefix.nd_opt_pi_len = sizeof message.prefix / 8;
  message.prefix.nd_opt_pi_prefix_len = 64;
  message.prefix.nd_opt_pi_flags_reserved = ND_OPT_PI_FLAG_ONLINK | ND_OPT_PI_FLAG_AUTO;
  message.prefix.nd_opt_pi_valid_time = htonl(3600);
  message.prefix.nd_opt_pi_preferred_time = htonl(3600);
  inet_pton(AF_INET6, "2001:db8:bad::", &message.prefix.nd_opt_pi_prefix);

  int socket_ = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
  if (socket_ < 0) return perror("socket"), 1;
  /* What does not come from the neighbourhood is no advertisement (RFC 4861, 6.1.2). */
  const int hops = 255;
  const int link = (int)if_nametoindex(arguments[1]);
  if (setsockopt(socket_, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops) < 0 ||
      setsockopt(socket_, IPPROTO_IPV6, IPV6_MULTICAST_IF, &link, sizeof link) < 0) {
    return perror("setsockopt"), 1;
  }
  struct sockaddr_in6 all = {.sin6_family = AF_INET6, .sin6_scope_id = (unsigned)link};
  inet_pton(AF_INET6, "ff02::1", &all.sin6_addr);
  for (int round = 0; round < 20; ++round) {
    if (sendto(socket_, &message, sizeof message, 0, (struct sockaddr *)&all, sizeof all) < 0) {
      return perror("sendto"), 1;
    }
    usleep(20000);
  }
  printf("sent\n");
  return 0;
}
