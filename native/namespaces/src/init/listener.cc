#include "init/listener.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sys/syscalls.h"

namespace bulkhead::init {
namespace {

constexpr size_t kStackBytes = 64 * 1024;
// Larger states than this have annotations nobody reads.
constexpr size_t kMaxStateBytes = 256 * 1024;

/** What the process and the thread that hands its descriptor over tell each other without a system call. */
struct Handover {
  int listener;
  const char* state;
  size_t stateBytes;
  /** kWaiting, then the filter's descriptor, or a negative errno when there will be none. */
  int descriptor;
  /** kWaiting, then 0 or an errno. */
  int result;
};
constexpr int kWaiting = INT32_MIN;

int sendDescriptor(const Handover& handover, int descriptor) {
  size_t sent = 0;
  while (sent < handover.stateBytes) {
    struct iovec part = {const_cast<char*>(handover.state) + sent, handover.stateBytes - sent};
    struct msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof descriptor)] = {};
    if (sent == 0) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      struct cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof descriptor);
      memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    }
    const ssize_t count = sendmsg(handover.listener, &message, MSG_NOSIGNAL);
    if (count < 0 && errno != EINTR) return errno;
    if (count > 0) sent += static_cast<size_t>(count);
  }
  return 0;
}

/** The thread: its own filters are those from before, so it may speak when the process must not. */
int handOver(void* argument) {
  auto* handover = static_cast<Handover*>(argument);
  int descriptor;
  while ((descriptor = __atomic_load_n(&handover->descriptor, __ATOMIC_ACQUIRE)) == kWaiting) sched_yield();
  const int result = descriptor < 0 ? 0 : sendDescriptor(*handover, descriptor);
  __atomic_store_n(&handover->result, result, __ATOMIC_RELEASE);
  syscall(SYS_exit, 0);
  return 0;
}

long install(const plan::Seccomp& seccomp, uint32_t flags) {
  static_assert(sizeof(plan::BpfInstruction) == sizeof(struct sock_filter));
  struct sock_fprog program = {};
  program.len = static_cast<uint16_t>(seccomp.program.count);
  program.filter = reinterpret_cast<struct sock_filter*>(seccomp.program.data);
  const uint32_t listener = flags & SECCOMP_FILTER_FLAG_NEW_LISTENER;
  long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  // A flag this kernel does not know is a refinement; the filter and its listener are not.
  if (result < 0 && errno == EINVAL && flags != listener) {
    result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, listener, &program);
  }
  return result < 0 ? -errno : result;
}

Status installAndHandOver(const plan::Seccomp& seccomp, const Notification& notification) {
  if (seccomp.stateBefore.size > kMaxStateBytes) return failure("seccomp", E2BIG, "state");
  const size_t bytes = kStackBytes + kMaxStateBytes + 64;
  char* area = static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (area == MAP_FAILED) return failure("mmap", errno);
  char* state = area + kStackBytes;
  const int stateBytes = snprintf(state, kMaxStateBytes + 64, "%s%d},\"pid\":%d}", seccomp.stateBefore.c_str(),
                                  notification.pid, notification.pid);
  Handover handover = {notification.listener, state, static_cast<size_t>(stateBytes), kWaiting, kWaiting};
  constexpr int kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  // Once the filter is on, any call of ours may be one that waits for the listener's answer: so another thread has to
  // send the descriptor. execve ends it if it has not ended itself.
  if (clone(handOver, area + kStackBytes, kThread, &handover) < 0) return failure("clone", errno);
  const long result = install(seccomp, seccomp.flags | SECCOMP_FILTER_FLAG_NEW_LISTENER);
  __atomic_store_n(&handover.descriptor, static_cast<int>(result), __ATOMIC_RELEASE);
  int sent;
  while ((sent = __atomic_load_n(&handover.result, __ATOMIC_ACQUIRE)) == kWaiting) __builtin_ia32_pause();
  if (result < 0) return failure("seccomp", static_cast<int>(-result));
  if (sent != 0) return failure("sendmsg", sent, "seccomp listener");
  return Done{};
}

}  // namespace

Result<Fd> connectListener(const plan::Seccomp& seccomp) {
  if (seccomp.listenerPath.empty()) return Fd();
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return failure("socket", errno);
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (seccomp.listenerPath.size >= sizeof address.sun_path) return failure("connect", ENAMETOOLONG);
  memcpy(address.sun_path, seccomp.listenerPath.data, seccomp.listenerPath.size);
  if (connect(socket.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) < 0) {
    return failure("connect", errno, seccomp.listenerPath.view());
  }
  return socket;
}

Result<pid_t> numberOnHost() {
  char text[16] = {};
  if (readlink("/proc/self", text, sizeof text - 1) <= 0) return failure("readlink", errno, "/proc/self");
  return static_cast<pid_t>(atoi(text));
}

Status installSeccomp(const plan::Seccomp& seccomp, const Notification& notification) {
  if (seccomp.program.empty()) return Done{};
  if (notification.listener >= 0) return installAndHandOver(seccomp, notification);
  const long result = install(seccomp, seccomp.flags);
  if (result < 0) return failure("seccomp", static_cast<int>(-result));
  return Done{};
}

}  // namespace bulkhead::init
