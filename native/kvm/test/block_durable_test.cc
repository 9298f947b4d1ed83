// A driver that does not flush has everything that it wrote on stable storage when it hears of it.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <thread>

#include "disk.h"

namespace bulkhead::vm {
namespace {

/** In this thread, no disk can be synced: so it shows who waits for it. */
bool failSyncs() {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {4, code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

}  // namespace

TEST(zeroes_of_a_driver_that_does_not_flush_are_on_stable_storage) {
  constexpr uint32_t kMayDeallocate = 1;
  bothWays([](Disk& disk) {
    disk.driver->start();
    const std::string full(kDiskBytes, 'x');
    EXPECT(pwrite(disk.file.get(), full.data(), full.size(), 0) == static_cast<ssize_t>(full.size()));
    EXPECT(disk.askRange(kWriteZeroes, 8, 8, kMayDeallocate) == kOk);
    EXPECT(disk.stored(8 * 512, 8 * 512) == std::string(8 * 512, '\0'));
    EXPECT(disk.askRange(kWriteZeroes, 0, 8) == kUnsupported);
    EXPECT(disk.ask({kIn}, {{kBytes, 512, true}}) == kOk);
  });
  std::thread([] {
    EXPECT(failSyncs());
    Disk disk(true);
    EXPECT(disk.ask({kFlush}) == kFailed);
    EXPECT(disk.askRange(kWriteZeroes, 0, 8, kMayDeallocate) == kOk);
    disk.driver->start();
    EXPECT(disk.askRange(kWriteZeroes, 0, 8, kMayDeallocate) == kFailed);
    // What is discarded is nothing that anybody relies on.
    EXPECT(disk.askRange(kDiscard, 0, 8) == kOk);
  }).join();
}

}  // namespace bulkhead::vm
