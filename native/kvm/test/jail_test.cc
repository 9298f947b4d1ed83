// What the monitor can do no longer once a guest runs.
#include "jail/jail.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "boot/tiny_image.h"
#include "monitor.h"
#include "runner.h"
#include "sys/syscalls.h"
#include "vmm/open_machine.h"

extern "C" const char guestCounts[], guestCountsEnd[];

namespace bulkhead::vm {
namespace {

constexpr int kRefusedToConfine = 99;
constexpr Sockets kStreams = {.streams = true};
constexpr Sockets kAll = {.streams = true, .descriptors = true, .connects = true};

/** How a process ends that confines itself as this kind of thread and then does one thing: its exit code, or -signal.
 */
int endOf(ThreadKind kind, Sockets sockets, long (*act)()) {
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!confineThread(kind, sockets).ok()) _exit(kRefusedToConfine);
    act();
    // Past the C library, whose ending does more.
    syscall(SYS_exit_group, 0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

struct Try {
  const char* name;
  long (*act)();
};

const Try kNever[] = {
    {"open", [] { return syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY); }},
    {"old open", [] { return syscall(SYS_open, "/etc/passwd", O_RDONLY); }},
    {"execve", [] { return syscall(SYS_execve, "/bin/true", nullptr, nullptr); }},
    {"execveat", [] { return syscall(SYS_execveat, -1, "", nullptr, nullptr, AT_EMPTY_PATH); }},
    {"fork", [] { return syscall(SYS_fork); }},
    {"clone", [] { return syscall(SYS_clone, SIGCHLD, nullptr); }},
    {"clone3", [] { return syscall(SYS_clone3, nullptr, 0); }},
    {"ptrace", [] { return syscall(SYS_ptrace, 0, 0, 0, 0); }},
    {"a message that waits", [] { return syscall(SYS_sendto, -1, nullptr, 0, MSG_NOSIGNAL, nullptr, 0); }},
    {"another process's memory", [] { return syscall(SYS_process_vm_readv, 1, nullptr, 0, nullptr, 0, 0); }},
    {"socket of the network", [] { return syscall(SYS_socket, AF_INET, SOCK_STREAM, 0); }},
    {"packet socket", [] { return syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0); }},
    {"netlink", [] { return syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0); }},
    {"memory that is code",
     [] { return syscall(SYS_mmap, nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }},
    {"memory that becomes code", [] { return syscall(SYS_mprotect, nullptr, 4096, PROT_READ | PROT_EXEC); }},
    {"a file's length", [] { return syscall(SYS_ftruncate, -1, 0); }},
    {"a file's bytes, as nothing of ours writes them", [] { return syscall(SYS_pwritev, -1, nullptr, 0, 0, 0); }},
    {"a signal to another", [] { return syscall(SYS_kill, 1, 0); }},
    {"a signal to another's thread", [] { return syscall(SYS_tgkill, 1, 1, 0); }},
    {"another machine", [] { return static_cast<long>(ioctl(-1, KVM_CREATE_VM, 0)); }},
    {"another processor", [] { return static_cast<long>(ioctl(-1, KVM_CREATE_VCPU, 0)); }},
    {"typing on the terminal", [] { return static_cast<long>(ioctl(0, TIOCSTI, "x")); }},
    {"another tap", [] { return static_cast<long>(ioctl(-1, TUNSETIFF, 0)); }},
    {"a processor's registers, changed", [] { return static_cast<long>(ioctl(-1, KVM_SET_REGS, 0)); }},
    {"a processor's special registers, changed", [] { return static_cast<long>(ioctl(-1, KVM_SET_SREGS, 0)); }},
    {"memory of the guest, moved", [] { return static_cast<long>(ioctl(-1, KVM_SET_USER_MEMORY_REGION, 0)); }},
    {"memory that makes others wait", [] { return static_cast<long>(ioctl(-1, USERFAULTFD_IOC_NEW, 0)); }},
    {"and more of it", [] { return static_cast<long>(ioctl(-1, UFFDIO_REGISTER, 0)); }},
    {"io_uring with no restriction", [] { return syscall(SYS_io_uring_setup, 1, nullptr); }},
    {"a new filter", [] { return syscall(SYS_seccomp, 0, 0, nullptr); }},
    {"process control", [] { return syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0); }},
    {"namespaces", [] { return syscall(SYS_unshare, 0); }},
    {"mount", [] { return syscall(SYS_mount, nullptr, nullptr, nullptr, 0, nullptr); }},
    {"bpf", [] { return syscall(SYS_bpf, 0, nullptr, 0); }},
    {"a call of x32", [] { return syscall(0x40000000 + SYS_read, -1, nullptr, 0); }},
};

const Try kAlways[] = {
    {"write", [] { return syscall(SYS_write, -1, nullptr, 0); }},
    {"what a guest says to a socket",
     [] { return syscall(SYS_sendto, -1, nullptr, 0, MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0); }},
    {"memory",
     [] { return syscall(SYS_mmap, nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }},
    {"a balloon's pages", [] { return syscall(SYS_madvise, nullptr, 0, MADV_REMOVE); }},
    {"a signal to itself", [] { return syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), 0); }},
};

const Try kOfProcessors[] = {
    {"the guest", [] { return static_cast<long>(ioctl(-1, KVM_RUN, 0)); }},
    {"a driver's wishes", [] { return static_cast<long>(ioctl(-1, TUNSETOFFLOAD, 0)); }},
};
const Try kOfTheLoop[] = {
    {"waiting", [] { return syscall(SYS_epoll_wait, -1, nullptr, 1, 0); }},
    {"a request with its pipe", [] { return syscall(SYS_recvmsg, -1, nullptr, 0); }},
    {"a processor's registers, seen", [] { return static_cast<long>(ioctl(-1, KVM_GET_REGS, 0)); }},
};
const Try kOfTheLoader[] = {
    {"who waits goes on", [] { return static_cast<long>(ioctl(-1, UFFDIO_WAKE, 0)); }},
    {"part of an image", [] { return syscall(SYS_pread64, -1, nullptr, 0, 0); }},
};
const Try kOfStreams[] = {
    {"accept4", [] { return syscall(SYS_accept4, -1, nullptr, nullptr, 0); }},
    {"recvfrom", [] { return syscall(SYS_recvfrom, -1, nullptr, 0, 0, nullptr, nullptr); }},
};
const Try kOfConnecting[] = {
    {"socket", [] { return syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0); }},
    {"connect", [] { return syscall(SYS_connect, -1, nullptr, 0); }},
};

const Try kOfDescriptors[] = {
    {"a message with descriptors", [] { return syscall(SYS_sendmsg, -1, nullptr, 0); }},
};

template <size_t Count>
void expectEnd(const Try (&tries)[Count], ThreadKind kind, Sockets sockets, int end) {
  for (const Try& each : tries) {
    const int actual = endOf(kind, sockets, each.act);
    if (actual != end)
      fprintf(stderr, "%s as %s: %d\n", each.name, kind == ThreadKind::loop ? "loop" : "processor", actual);
    EXPECT(actual == end);
  }
}

std::string statusOf(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool has(const std::string& status, const char* line) {
  return status.find(line) != std::string::npos;
}

}  // namespace

TEST(a_thread_of_either_kind_that_does_what_it_never_does_ends_the_process) {
  for (const ThreadKind kind : {ThreadKind::processor, ThreadKind::loop}) {
    expectEnd(kNever, kind, kAll, -SIGSYS);
    expectEnd(kAlways, kind, Sockets{}, 0);
  }
}

TEST(each_kind_of_thread_does_its_own_and_not_the_others) {
  expectEnd(kOfProcessors, ThreadKind::processor, Sockets{}, 0);
  expectEnd(kOfProcessors, ThreadKind::loop, Sockets{}, -SIGSYS);
  expectEnd(kOfTheLoop, ThreadKind::loop, Sockets{}, 0);
  expectEnd(kOfTheLoop, ThreadKind::processor, Sockets{}, -SIGSYS);
}

TEST(what_brings_late_blocks_reads_and_wakes_and_nothing_else) {
  expectEnd(kNever, ThreadKind::loader, kAll, -SIGSYS);
  expectEnd(kOfProcessors, ThreadKind::loader, kAll, -SIGSYS);
  expectEnd(kOfTheLoop, ThreadKind::loader, kAll, -SIGSYS);
  expectEnd(kOfStreams, ThreadKind::loader, kAll, -SIGSYS);
  expectEnd(kOfConnecting, ThreadKind::loader, kAll, -SIGSYS);
  expectEnd(kOfTheLoader, ThreadKind::loader, Sockets{}, 0);
  for (const ThreadKind kind : {ThreadKind::processor, ThreadKind::loop}) {
    expectEnd(kOfTheLoader, kind, kAll, -SIGSYS);
  }
}

TEST(sockets_are_for_machines_that_have_such_a_device) {
  for (const ThreadKind kind : {ThreadKind::processor, ThreadKind::loop}) {
    expectEnd(kOfStreams, kind, kStreams, 0);
    expectEnd(kOfStreams, kind, {}, -SIGSYS);
    expectEnd(kOfDescriptors, kind, {.descriptors = true}, 0);
    expectEnd(kOfDescriptors, kind, {.streams = true, .connects = true}, -SIGSYS);
    expectEnd(kOfConnecting, kind, {.connects = true}, 0);
    expectEnd(kOfConnecting, kind, {.streams = true, .descriptors = true}, -SIGSYS);
  }
}

TEST(only_a_guest_that_reaches_the_host_s_sockets_has_a_monitor_that_connects) {
  const auto of = [](std::vector<std::string> devices) {
    VmmOptions options;
    options.control = "/control";
    options.devices = std::move(devices);
    return socketsOf(options);
  };
  // As agents start machines.
  const Sockets usual = of({"vsock,cid=3,listen=/vsock", "files,tag=share,socket=/files", "entropy"});
  EXPECT(usual.streams && usual.descriptors && !usual.connects);
  EXPECT(!of({"vsock,cid=3,path="}).connects && of({"vsock,cid=3,path=/vsock"}).connects);
  EXPECT(!of({}).descriptors && of({}).streams && !socketsOf({}).streams);
}

TEST(a_confined_process_has_no_capability_and_opens_no_file) {
  const pid_t pid = fork();
  if (pid == 0) {
    if (!confineProcess().ok()) _exit(kRefusedToConfine);
    struct __user_cap_header_struct {
      uint32_t version;
      int pid;
    } header = {0x20080522, 0};
    uint32_t data[6] = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
    if (syscall(SYS_capget, &header, data) != 0) _exit(1);
    for (const uint32_t word : data) {
      if (word != 0) _exit(2);
    }
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) _exit(3);
    for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
      if (geteuid() == 0 && prctl(PR_CAPBSET_READ, capability, 0, 0, 0) != 0) _exit(4);
    }
    const bool landlock = syscall(SYS_landlock_create_ruleset, nullptr, 0, 1) >= 0;
    if (landlock && (open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)) _exit(5);
    _exit(0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(every_thread_of_a_monitor_is_confined_when_its_guest_runs) {
  if (!haveKvm()) return;
  auto started = Monitor::start(tinyImage({guestCounts, guestCountsEnd}),
                                {"--cpus", "2", "--memory-mib", "2", "--device", "entropy"});
  EXPECT(started.ok());
  if (!started.ok()) return;
  Monitor& monitor = started.value();
  // The guest has no way to say that it runs but its counter; its processors' threads are there before.
  const std::string tasks = "/proc/" + std::to_string(monitor.pid()) + "/task";
  // The loop and two processors, and a worker of KVM's that counts as a thread of the process.
  constexpr size_t kThreads = 3;
  size_t confined = 0;
  size_t all = 0;
  size_t named = 0;
  for (int round = 0; round < 2000 && (confined < kThreads || confined < all); ++round) {
    confined = all = named = 0;
    if (DIR* directory = opendir(tasks.c_str()); directory != nullptr) {
      while (const dirent* entry = readdir(directory)) {
        if (entry->d_name[0] == '.') continue;
        ++all;
        named += statusOf(tasks + "/" + entry->d_name + "/comm").starts_with("vcpu ") ? 1 : 0;
        const std::string status = statusOf(tasks + "/" + entry->d_name + "/status");
        confined += has(status, "\nSeccomp:\t2\n") && has(status, "\nNoNewPrivs:\t1\n") &&
                            has(status, "\nCapEff:\t0000000000000000\n") && has(status, "\nCapPrm:\t0000000000000000\n")
                        ? 1
                        : 0;
      }
      closedir(directory);
    }
    struct pollfd nothing = {-1, 0, 0};
    if (confined < kThreads || confined < all) poll(&nothing, 1, 5);
  }
  EXPECT(confined >= kThreads && confined == all && named == 2);
  EXPECT_TEXT(monitor.ask("pause"), "{\"state\":\"paused\"}");
  EXPECT_TEXT(monitor.ask("resume"), "{\"state\":\"running\"}");
  const std::string view = monitor.ask("view");
  EXPECT(has(view, "\"calls\":{\"processor\":[\"ioctl\"") && !has(view, "openat") && !has(view, "\"connect\""));
  EXPECT_TEXT(monitor.ask("stop"), "{\"state\":\"stopped\"}");
  // As README.md and src/vmm/main.cc count outcomes: stopped.
  EXPECT(monitor.end() == 16);
}

}  // namespace bulkhead::vm
