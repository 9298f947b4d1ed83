#include "net/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::net {

Result<Fd> openTap(const std::string& name, unsigned index) {
  if (name.empty() || name.size() >= IFNAMSIZ) return failure("tap device", EINVAL, name);
  Fd fd = TRY(sys::openAt(AT_FDCWD, "/dev/net/tun", O_RDWR | O_NONBLOCK));
  TRY(sys::check(
      "ioctl TUNSETIFINDEX", [&] { return ioctl(fd.get(), TUNSETIFINDEX, &index); }, name));
  struct ifreq request = {};
  memcpy(request.ifr_name, name.data(), name.size());
  // Exclusive: a device of that name that somebody left would be another one's.
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL);
  TRY(sys::check(
      "ioctl TUNSETIFF", [&] { return ioctl(fd.get(), TUNSETIFF, &request); }, name));
  return fd;
}

}  // namespace bulkhead::net
