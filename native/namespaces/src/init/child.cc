#include "init/child.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "init/entry.h"
#include "init/gate.h"
#include "init/join.h"
#include "init/report.h"
#include "init/terminal.h"
#include "plan/codec.h"
#include "sys/file.h"
#include "sys/retry.h"

namespace bulkhead::init {
namespace {

void tell(int socket, const Steps& steps, const Error& error) {
  const Report report = failedReport(steps.current(), error);
  // write, not sendmsg: every filter that lets a program run at all allows it.
  (void)write(socket, &report, kReportBytes);
}

Status raiseLoopback() {
  Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return failure("socket", errno);
  struct ifreq request = {};
  snprintf(request.ifr_name, sizeof request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  if (ioctl(socket.get(), SIOCSIFFLAGS, &request) < 0) return failure("ioctl SIOCSIFFLAGS", errno, "lo");
  return Done{};
}

/** What the agent will connect here learns no router and no address from its neighbours (CVE-2020-13401). */
Status ignoreAdvertisements() {
  Status written = sys::writeFile(AT_FDCWD, "/proc/sys/net/ipv6/conf/default/accept_ra", "0");
  // A kernel without IPv6 hears none.
  return !written.ok() && written.error().err == ENOENT ? Status(Done{}) : written;
}

Status setNames(const plan::Container& container) {
  if (!container.hostname.empty() && sethostname(container.hostname.data, container.hostname.size) < 0) {
    return failure("sethostname", errno, container.hostname.view());
  }
  if (!container.domainname.empty() && setdomainname(container.domainname.data, container.domainname.size) < 0) {
    return failure("setdomainname", errno, container.domainname.view());
  }
  return Done{};
}

/** Everything that needs no plan: its cgroups so far, nothing of the host open, a network namespace of its own. */
Status isolate(const ChildContext& context) {
  Steps& steps = context.steps;
  TRY(sys::processControl("prctl PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, SIGKILL));
  TRY(steps.begin("cgroup join"));
  TRY(context.cgroups.joinSelf());
  // Descriptors of the host (run directory, log, cgroups) that the fork copied must be gone before the image acts.
  int kept[5 + plan::kMaxPreservedFds] = {context.socket, context.output, context.error, context.listener};
  size_t keptCount = 4;
  if (const plan::Container* container = context.container; container != nullptr) {
    const uint32_t preserved = container->process.preservedFds;
    if (preserved > plan::kMaxPreservedFds) return failure("plan", EINVAL, "preserved descriptors");
    if ((container->flags & plan::kPlanUnattended) != 0) kept[keptCount++] = kGateFd;
    for (uint32_t index = 0; index < preserved; ++index) kept[keptCount++] = kPreservedFd + static_cast<int>(index);
  }
  TRY(sys::closeAllBut(kept, keptCount));
  const int others = static_cast<int>(context.namespaces & kMadeFirst & ~uint32_t{CLONE_NEWNET});
  if (others != 0) {
    TRY(steps.begin("other namespaces"));
    TRY(sys::unshareNamespaces(others));
  }
  if ((context.namespaces & CLONE_NEWNET) == 0) return Done{};
  TRY(steps.begin("network namespace"));
  TRY(sys::unshareNamespaces(CLONE_NEWNET));
  TRY(steps.begin("loopback"));
  return raiseLoopback();
}

/** The plan of a child that was born before it. */
class LatePlan {
 public:
  Status receive(int socket) {
    const Fd file = receivePlan(socket);
    // End of file: the shim is gone, and so must be everything it began.
    if (!file.valid()) return failure("recvmsg", ECONNRESET);
    plan_ = MappedPlan(file.get());
    if (!plan::decode(plan_.bytes(), &arena_, &container_)) return failure("decode", EBADMSG);
    return Done{};
  }
  const plan::Container& container() const { return container_; }

 private:
  Arena arena_{plan::kPlanArenaBytes};
  MappedPlan plan_;
  plan::Container container_;
};

/** The shim's word that the ids are mapped. */
Status awaitIds(int socket) {
  char byte;
  const sys::Received received = TRY(sys::receiveMessage(socket, &byte, 1));
  // End of file: the shim is gone, and so must be everything it began.
  return received.size == 0 ? Status(failure("recvmsg", ECONNRESET)) : Status(Done{});
}

/** The cgroups that were not there when we were born. */
Status joinLater(int socket) {
  char byte;
  int fds[cgroup::Placement::kMax];
  const sys::Received received = TRY(sys::receiveMessage(socket, &byte, 1, fds, std::size(fds)));
  // End of file: the shim is gone, and so must be everything it began.
  if (received.size == 0) return failure("recvmsg", ECONNRESET);
  Status joined = Done{};
  for (size_t index = 0; index < received.fdCount; ++index) {
    const Fd tasks(fds[index]);
    if (joined.ok()) joined = sys::writeAll(tasks.get(), "0", 1);
  }
  return joined;
}

Status prepare(const ChildContext& context, const plan::Container& container, Identity* identity,
               Notification* notification) {
  Steps& steps = context.steps;
  if ((container.flags & plan::kPlanAwaitNetwork) != 0) {
    TRY(ignoreAdvertisements());
    TRY(sys::sendMessage(context.socket, "n", 1));
  }
  if (context.listener >= 0) *notification = {context.listener, TRY(numberOnHost())};
  TRY(steps.begin("hostname"));
  TRY(setNames(container));
  TRY(steps.begin("wait for ids"));
  TRY(awaitIds(context.socket));
  TRY(steps.begin("become root"));
  if (hasUserNamespace(container)) TRY(becomeRoot());
  // The shim makes cgroups meanwhile.
  PreparedMounts prepared;
  TRY(prepared.make(container, steps));
  TRY(steps.begin("wait for cgroups"));
  TRY(joinLater(context.socket));
  TRY(steps.begin("cgroup namespace"));
  if ((container.namespaces & CLONE_NEWCGROUP) != 0) TRY(sys::unshareNamespaces(CLONE_NEWCGROUP));
  Fd devNull;
  TRY(enterRoot(context, container, &prepared, &devNull));
  TRY(steps.begin("user lookup"));
  TRY(resolveIdentity(container.process, identity));
  if ((container.process.flags & plan::kProcessTerminal) != 0) {
    TRY(steps.begin("terminal"));
    TRY(connectTerminal(container.process, *identity, context.socket));
    return showConsole();
  }
  TRY(steps.begin("stdio"));
  const bool logged = !container.logPath.empty();
  const Stdio given = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
  return connectStdio(logged ? Stdio{-1, context.output, context.error} : given, devNull, *identity);
}

/** From the plan to execve; returns only the reason it failed, told to whoever waits. */
void become(const ChildContext& context, const plan::Container& container) {
  Identity identity;
  Notification notification;
  Status prepared = prepare(context, container, &identity, &notification);
  Gate gate(container, context.socket);
  const bool attended = (container.flags & plan::kPlanUnattended) == 0;
  if (prepared.ok()) {
    prepared = becomeProcess({container.process, identity, context.steps, context.socket, attended,
                              attended ? nullptr : &gate, notification});
  }
  Error error;
  if (prepared.ok()) {
    Status begun = context.steps.begin("exec");
    context.steps.setLaunching();
    error = begun.ok() ? launch(container.process, identity) : begun.error();
  } else {
    error = prepared.error();
  }
  tell(gate.starter() >= 0 ? gate.starter() : context.socket, context.steps, error);
}

void born(const ChildContext& context) {
  LatePlan plan;
  Status received = context.steps.begin("wait for plan");
  if (received.ok()) received = plan.receive(context.socket);
  if (!received.ok()) return tell(context.socket, context.steps, received.error());
  context.steps.follow(plan.container());
  become(context, plan.container());
}

}  // namespace

Status becomeRoot() {
  if (syscall(SYS_setresgid, 0, 0, 0) < 0) return failure("setresgid", errno);
  if (syscall(SYS_setresuid, 0, 0, 0) < 0) return failure("setresuid", errno);
  if (syscall(SYS_setgroups, 0, nullptr) < 0) return failure("setgroups", errno);
  // Forgotten with the ids: what the host's fs.suid_dumpable says would hold, and may let the inside look in.
  TRY(sys::processControl("prctl PR_SET_DUMPABLE", PR_SET_DUMPABLE, 0));
  return sys::processControl("prctl PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, SIGKILL);
}

Status connectStdio(const Stdio& stdio, const Fd& devNull, const Identity& identity) {
  const int input = stdio.input >= 0 ? stdio.input : devNull.get();
  const int wanted[3] = {input, stdio.output >= 0 ? stdio.output : devNull.get(),
                         stdio.error >= 0 ? stdio.error : devNull.get()};
  // Copies above the three first: one of the sources may itself be 0, 1 or 2.
  Fd copies[3];
  for (int index = 0; index < 3; ++index) {
    if (wanted[index] < 0) return failure("dup3", ENODEV, "/dev/null");
    copies[index] = TRY(sys::duplicate(wanted[index], 10));
  }
  for (int index = 0; index < 3; ++index) {
    TRY(sys::check("dup2", [&] { return dup2(copies[index].get(), index); }));
    // Programs reopen /dev/stdout by path, so a pipe belongs to the user who runs them; /dev/null stays root's.
    struct stat status;
    if (fstat(index, &status) == 0 && S_ISFIFO(status.st_mode)) {
      // Pipes that the caller of start() brought may belong to an id that does not exist here; then they stay as they
      // are.
      if (fchown(index, identity.uid, static_cast<gid_t>(-1)) < 0 && errno != EPERM) {
        return failure("fchown", errno, "stdio");
      }
    }
  }
  return Done{};
}

void runChild(const ChildContext& context) {
  context.steps.enterChild();
  Status isolated = isolate(context);
  if (!isolated.ok()) {
    tell(context.socket, context.steps, isolated.error());
  } else if (context.container != nullptr) {
    become(context, *context.container);
  } else {
    born(context);
  }
  _exit(127);
}

}  // namespace bulkhead::init
