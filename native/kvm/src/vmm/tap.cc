#include "vmm/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {

Result<Fd> openTap(const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ) return failure("tap device", EINVAL, name);
  Fd fd = TRY(sys::openAt(AT_FDCWD, "/dev/net/tun", O_RDWR));
  struct ifreq request = {};
  memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  TRY(sys::check(
      "ioctl TUNSETIFF", [&] { return ioctl(fd.get(), TUNSETIFF, &request); }, name));
  return fd;
}

}  // namespace bulkhead::vm
