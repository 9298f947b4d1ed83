// The first process of a container: born with its plan, or before it.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "init/child.h"
#include "init/gate.h"
#include "init/join.h"
#include "init/listener.h"
#include "init/scheduling.h"
#include "init/start.h"
#include "sys/retry.h"

namespace bulkhead::init {
namespace {

// The child makes these itself, while the shim mounts; cgroup comes after it has joined its cgroups.
constexpr uint64_t kMadeByChild = kMadeFirst | CLONE_NEWCGROUP;

bool sameCgroups(const Span<plan::CgroupDirectory>& born, const Span<plan::CgroupDirectory>& wanted) {
  if (born.count != wanted.count) return false;
  for (uint32_t index = 0; index < born.count; ++index) {
    if (born[index].path.view() != wanted[index].path.view()) return false;
  }
  return true;
}

/** Hooks look at the host's files, a joined mount namespace has a path, a listener and cloneThrough ask /proc. */
bool needsHostTree(const plan::Container& container) {
  constexpr uint32_t kAsking = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWCGROUP;
  return (container.flags & plan::kPlanAnnounced) != 0 || !container.process.seccomp.listenerPath.empty() ||
         std::any_of(container.joins.begin(), container.joins.end(),
                     [](const plan::NamespaceJoin& join) { return (join.type & kAsking) != 0; });
}

}  // namespace

void Start::bear(const plan::Birth& birth) {
  steps_.follow(birth);
  // Whether there will be a log only the plan says, and a pipe is soon made.
  if (openStreams().ok() && makeAhead(birth).ok() && begin(birth.namespaces, birth.cgroups, nullptr).ok()) {
    birth_ = &birth;
    return;
  }
  undo();
}

Status Start::makeAhead(const plan::Birth& birth) {
  // Somebody waits for this process already, and what it joins later is made while it makes its namespaces.
  if ((birth.flags & plan::kPlanAhead) == 0) return Done{};
  TRY(steps_.begin("cgroup create"));
  return cgroups_.make(birth.cgroups, cgroup::Placement::Stage::ahead);
}

bool Start::suits(const plan::Container& container) const {
  struct pollfd slot = {watched_->process.get(), POLLIN, 0};
  const bool alive = sys::retry([&] { return poll(&slot, 1, 0); }) == 0;
  // What is inherited from the shim, or joined by it, had to be there at birth.
  const bool inherits = !container.joins.empty() || !container.timeOffsets.empty() ||
                        container.process.preservedFds > 0 || (container.flags & plan::kPlanUnattended) != 0 ||
                        needsHostTree(container);
  return alive && !inherits && birth_->namespaces == container.namespaces &&
         sameCgroups(birth_->cgroups, container.cgroups);
}

void Start::undo() {
  if (child_ > 0) {
    (void)sys::signalPid(watched_->process.get(), SIGKILL).ok();
    (void)sys::reap(watched_->process.get(), true).ok();
  }
  (void)setAffinity({}).ok();
  child_ = 0;
  birth_ = nullptr;
  for (Fd* fd : {&watched_->process, &watched_->mounts, &watched_->output, &watched_->error, &watched_->oomCounter,
                 &watched_->killSwitch, &socket_, &childOutput_, &childError_, &userNamespace_}) {
    fd->reset();
  }
  watched_->layers = {};
  cgroups_.remove();
}

Status Start::openStreams() {
  struct Stream {
    Fd* ours;
    Fd* theirs;
  };
  for (const Stream& stream : {Stream{&watched_->output, &childOutput_}, Stream{&watched_->error, &childError_}}) {
    sys::Pair pipe = TRY(sys::pipePair());
    if (fcntl(pipe.left.get(), F_SETFL, O_NONBLOCK) < 0) return failure("fcntl", errno);
    *stream.ours = std::move(pipe.left);
    *stream.theirs = std::move(pipe.right);
  }
  return Done{};
}

Status Start::begin(uint32_t namespaces, const Span<plan::CgroupDirectory>& cgroups, const plan::Container* container) {
  TRY(steps_.begin("cgroup create"));
  TRY(cgroups_.make(cgroups, cgroup::Placement::Stage::birth));
  if (cgroups_.memory() >= 0) {
    const char* file = cgroups_.memoryIsUnified() ? "memory.events" : "memory.oom_control";
    // Absent when the controller was not handed down; then nothing limits memory here either.
    Result<Fd> counter = sys::openAt(cgroups_.memory(), file, O_RDONLY);
    if (counter.ok()) watched_->oomCounter = counter.take();
  }
  if (cgroups_.unified() >= 0 && (namespaces & CLONE_NEWPID) == 0) {
    watched_->killSwitch = TRY(sys::openAt(cgroups_.unified(), "cgroup.kill", O_WRONLY));
  }
  return cloneChild(namespaces, container);
}

Status Start::meetChild(uint32_t namespaces, const Span<plan::CgroupDirectory>& cgroups, bool ownUser) {
  TRY(steps_.begin("cgroup create"));
  TRY(cgroups_.make(cgroups, cgroup::Placement::Stage::later));
  char path[48];
  if (ownUser) {
    snprintf(path, sizeof path, "/proc/%d/ns/user", child_);
    userNamespace_ = TRY(sys::openAt(AT_FDCWD, path, O_RDONLY));
  }
  if ((namespaces & CLONE_NEWNS) == 0) return Done{};
  snprintf(path, sizeof path, "/proc/%d/ns/mnt", child_);
  watched_->mounts = TRY(sys::openAt(AT_FDCWD, path, O_RDONLY));
  return Done{};
}

Status Start::cloneChild(uint32_t namespaces, const plan::Container* container) {
  uint64_t flags = namespaces & ~kMadeByChild;
  Fd listener;
  Joined joined;
  if (container != nullptr) {
    TRY(steps_.begin("join namespaces"));
    listener = TRY(connectListener(container->process.seccomp));
    TRY(joinNamespaces(*container, &joined));
    TRY(offsetClocks(*container));
    // With offsets the namespace is made already, and the child is born in it.
    if (!container->timeOffsets.empty()) flags &= ~uint64_t{CLONE_NEWTIME};
  }
  TRY(steps_.begin("clone"));
  sys::Pair pair = TRY(sys::socketPair(SOCK_SEQPACKET));
  // Both work at once from here on, and neither may lie behind the other: where CPUs share no cache the scheduler looks
  // for no idle one, and in a kernel that is not preempted a shim with its plan would wait for the end of a network
  // namespace's birth. So the child begins where the shim is, and the shim goes elsewhere until the start is over.
  const int cpu = container == nullptr ? sched_getcpu() : -1;
  stayOnCpu(cpu);
  const bool fromBase = base_.valid() && (container == nullptr || !needsHostTree(*container));
  if (fromBase) TRY(base_.enter());
  Result<sys::Cloned> born = joined.throughAnother() ? cloneThrough(joined, flags, cgroups_.unified())
                                                     : sys::cloneProcess(flags, cgroups_.unified());
  if (fromBase && !(born.ok() && born.value().pid == 0)) base_.leave();
  sys::Cloned cloned = TRY(std::move(born));
  if (cloned.pid == 0) {
    if (container != nullptr) {
      Result<Fd> socket = aboveProgram(std::move(pair.right), container->process);
      Result<Fd> asked = listener.valid() ? aboveProgram(std::move(listener), container->process) : Result<Fd>(Fd());
      if (!socket.ok() || !asked.ok()) _exit(127);
      pair.right = socket.take();
      listener = asked.take();
    } else {
      // Nothing holds it there; its program gets an affinity of its own.
      (void)setAffinity({}).ok();
    }
    runChild({namespaces, container, steps_, cgroups_, pair.right.get(), childOutput_.get(), childError_.get(),
              listener.get(), fromBase});
  }
  leaveCpu(cpu);
  child_ = cloned.pid;
  watched_->process = std::move(cloned.pidfd);
  socket_ = std::move(pair.left);
  return returnHome(joined);
}

}  // namespace bulkhead::init
