#include "jail/allow_list.h"

#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvm/lists.h"

namespace bulkhead::vm {
namespace {

using Kind = Condition::Kind;

#define CALL(name) \
  { SYS_##name, #name }
#define CALL_IF(name, kind, argument, value)       \
  {                                                \
    SYS_##name, #name, {                           \
      kind, argument, static_cast<uint32_t>(value) \
    }                                              \
  }

// Each list has first what happens most.
constexpr AllowedCall kOfProcessors[] = {
    CALL_IF(ioctl, Kind::equals, 1, KVM_RUN),
    // Told after a pause, so that the guest does not take it for a processor that hung.
    CALL_IF(ioctl, Kind::equals, 1, KVM_KVMCLOCK_CTRL),
    // What a driver agrees on with its network card.
    CALL_IF(ioctl, Kind::equals, 1, TUNSETOFFLOAD),
};

constexpr AllowedCall kOfTheLoop[] = {
    CALL(epoll_wait),
    // A control's requests, and the pipe that comes with one.
    CALL(recvmsg),
    // A snapshot: what KVM holds is looked at and never set, and written to the pipe that was passed.
    CALL_IF(ioctl, Kind::equals, 1, KVM_GET_MP_STATE),
    CALL_IF(ioctl, Kind::equals, 1, KVM_GET_REGS),
    CALL_IF(ioctl, Kind::equals, 1, KVM_GET_SREGS),
    CALL_IF(ioctl, Kind::equals, 1, kGetExtended),
    CALL_IF(ioctl, Kind::equals, 1, kGetExtended2),
    CALL_IF(ioctl, Kind::equals, 1, KVM_GET_XCRS),
    CALL_IF(ioctl, Kind::equals, 1, KVM_GET_DEBUGREGS),
    CALL_IF(ioctl, Kind::equals, 1, KVM_GET_LAPIC),
    CALL_IF(ioctl, Kind::equals, 1, KVM_GET_TSC_KHZ),
    CALL_IF(ioctl, Kind::equals, 1, kGetMsrs),
    CALL_IF(ioctl, Kind::equals, 1, KVM_GET_VCPU_EVENTS),
    CALL_IF(ioctl, Kind::equals, 1, KVM_GET_IRQCHIP),
    CALL_IF(ioctl, Kind::equals, 1, KVM_GET_CLOCK),
    CALL(lseek),
};

constexpr AllowedCall kOfTheLoader[] = {
    CALL(pread64),
    CALL(poll),
    // Who waits, and that he need not any longer.
    CALL(read),
    CALL_IF(ioctl, Kind::equals, 1, UFFDIO_WAKE),
    CALL(write),
    CALL(futex),
    CALL(close),
    // A thread's stack.
    CALL_IF(madvise, Kind::equals, 2, MADV_DONTNEED),
};

/** A device is driven from whichever thread the guest's access or the data comes to. */
constexpr AllowedCall kOfDevices[] = {
    CALL(read),
    CALL(write),
    CALL(io_uring_enter),
    CALL(writev),
    CALL(futex),
    CALL(poll),
    CALL(preadv2),
    CALL(preadv),
    CALL(pwritev2),
    CALL(fdatasync),
    CALL(fallocate),
    CALL(timerfd_settime),
    CALL(epoll_ctl),
    CALL(getrandom),
    // A balloon's pages, a thread's stack, the allocator's.
    CALL_IF(madvise, Kind::equals, 2, MADV_REMOVE),
    CALL_IF(madvise, Kind::equals, 2, MADV_DONTNEED),
    CALL(close),
    // Where a guest's bytes go may be a socket, and nobody waits for who reads there.
    CALL_IF(sendto, Kind::equals, 3, MSG_DONTWAIT | MSG_NOSIGNAL),
};

constexpr AllowedCall kOfStreams[] = {CALL(recvmsg), CALL(recvfrom), CALL(shutdown), CALL(accept4)};

/** Landlock has no say in who connects to a socket by its name, and a share of the machine's may hold some. */
constexpr AllowedCall kOfConnecting[] = {CALL_IF(socket, Kind::equals, 0, AF_UNIX), CALL(connect)};

/** A queue's doorbell and its answer, for whoever serves it. */
constexpr AllowedCall kOfDescriptors[] = {CALL(sendmsg)};

/** What the C library does for any program: memory that is never code, time, locks, the end. */
constexpr AllowedCall kOfTheLibrary[] = {
    CALL(rt_sigreturn),
    CALL(restart_syscall),
    CALL(rt_sigprocmask),
    CALL(sched_yield),
    CALL(clock_gettime),
    CALL(gettid),
    CALL(getpid),
    // How many heaps the allocator makes goes by it.
    CALL(sched_getaffinity),
    CALL(brk),
    CALL(munmap),
    CALL(mremap),
    CALL_IF(mmap, Kind::hasNone, 2, PROT_EXEC),
    CALL_IF(mprotect, Kind::hasNone, 2, PROT_EXEC),
    CALL(exit),
    CALL(exit_group),
};

template <size_t Count>
void add(std::vector<AllowedCall>* calls, const AllowedCall (&more)[Count]) {
  calls->insert(calls->end(), more, more + Count);
}

}  // namespace

std::vector<AllowedCall> allowedCalls(ThreadKind kind, Sockets sockets) {
  std::vector<AllowedCall> calls;
  if (kind == ThreadKind::loader) {
    add(&calls, kOfTheLoader);
    add(&calls, kOfTheLibrary);
    return calls;
  }
  if (kind == ThreadKind::processor) {
    add(&calls, kOfProcessors);
  } else {
    add(&calls, kOfTheLoop);
  }
  add(&calls, kOfDevices);
  if (sockets.streams) add(&calls, kOfStreams);
  if (sockets.descriptors) add(&calls, kOfDescriptors);
  if (sockets.connects) add(&calls, kOfConnecting);
  add(&calls, kOfTheLibrary);
  // A processor is made to leave the guest by a signal to its thread; nobody else can be sent one.
  const auto self = static_cast<uint32_t>(getpid());
  calls.push_back(CALL_IF(tgkill, Kind::equals, 0, self));
  return calls;
}

}  // namespace bulkhead::vm
