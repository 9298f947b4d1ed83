// Late blocks where the kernel refuses what they are made of.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <functional>
#include <thread>

#include "boot/late_blocks.h"
#include "boot/tiny_image.h"
#include "monitor.h"
#include "runner.h"
#include "sys/syscalls.h"

extern "C" const char guestReadsFarAhead[], guestReadsFarAheadEnd[];

namespace bulkhead::vm {
namespace {

using layout::kMiB;

/** Does it on a thread, whose ioctls of this kind, and those of what it starts, the kernel answers with an error. */
void refusing(unsigned long request, uint32_t err, const std::function<void()>& act) {
  std::thread([&] {
    const struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(request), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof filter / sizeof filter[0], const_cast<struct sock_filter*>(filter)};
    EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    EXPECT(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
    act();
  }).join();
}

/** The kernel of a guest that says what lies 8 MiB behind its first instruction, which is an L. */
std::string farAheadImage() {
  std::string code(guestReadsFarAhead, guestReadsFarAheadEnd);
  code.resize(12 * kMiB);
  code[8 * kMiB] = 'L';
  return tinyImage(code);
}

struct Ended {
  int code = -1;
  std::string serial;
  std::string said;
};

/** How a monitor of that guest ends where this is refused. */
Ended monitorRefused(unsigned long request, uint32_t err) {
  Ended ended;
  refusing(request, err, [&] {
    auto started = Monitor::start(farAheadImage(), {"--memory-mib", "16"});
    EXPECT(started.ok());
    if (!started.ok()) return;
    ended.code = started.value().end();
    char said = 0;
    if (ended.code == 0 && read(started.value().serial().get(), &said, 1) == 1) ended.serial = said;
    ended.said = started.value().said();
  });
  return ended;
}

bool haveUserfaultfd() {
  return sys::openAt(AT_FDCWD, "/dev/userfaultfd", O_RDWR).ok();
}

}  // namespace

TEST(late_blocks_are_not_made_where_the_kernel_refuses_what_they_need) {
  auto device = sys::openAt(AT_FDCWD, "/dev/userfaultfd", O_RDWR);
  if (!device.ok()) return;
  struct Refused {
    unsigned long request;
    uint32_t err;
    const char* op;
  };
  for (const Refused& each : {Refused{UFFDIO_API, EINVAL, "ioctl UFFDIO_API"},
                              Refused{USERFAULTFD_IOC_NEW, EPERM, "ioctl USERFAULTFD_IOC_NEW"}}) {
    refusing(each.request, each.err, [&] {
      const auto made = LateBlocks::create(device.value());
      EXPECT(!made.ok());
      if (made.ok()) return;
      EXPECT(made.error().err == static_cast<int>(each.err));
      EXPECT_TEXT(std::string(made.error().op), each.op);
    });
  }
}

TEST(a_guest_whose_blocks_cannot_be_late_has_all_of_them_first) {
  if (!haveKvm() || !haveUserfaultfd()) return;
  for (const unsigned long request :
       {static_cast<unsigned long>(UFFDIO_API), static_cast<unsigned long>(USERFAULTFD_IOC_NEW)}) {
    const Ended ended = monitorRefused(request, EINVAL);
    EXPECT(ended.code == 0);
    EXPECT_TEXT(ended.serial, "L");
  }
}

TEST(a_machine_whose_blocks_cannot_be_waited_for_does_not_begin_and_says_why) {
  if (!haveKvm() || !haveUserfaultfd()) return;
  const Ended ended = monitorRefused(UFFDIO_REGISTER, EINVAL);
  EXPECT(ended.code > 0);
  EXPECT(ended.said.find("ioctl UFFDIO_REGISTER") != std::string::npos);
}

}  // namespace bulkhead::vm
