#include "init/start.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "init/area.h"
#include "init/child.h"
#include "init/gate.h"
#include "init/join.h"
#include "init/listener.h"
#include "init/maps.h"
#include "init/mounts.h"
#include "init/root.h"
#include "init/scheduling.h"
#include "sys/file.h"
#include "sys/retry.h"

namespace bulkhead::init {
Start::~Start() {
  if (done_) return;
  undo();
  if (statusWritten_) (void)sys::removeAt(watched_->runDirectory.get(), "status", 0).ok();
  watched_->exitFile.discard(watched_->runDirectory.get());
}

Status Start::openFiles() {
  TRY(steps_.begin("run directory"));
  watched_->runDirectory = TRY(sys::openAt(AT_FDCWD, container_->runDirectory.c_str(), O_RDONLY | O_DIRECTORY));
  if (!container_->logPath.empty()) {
    TRY(steps_.begin("log"));
    TRY(watched_->log.open(container_->logPath.c_str(), container_->logMaxBytes, container_->logMaxFiles));
  }
  if (!container_->leasePage.empty()) {
    TRY(steps_.begin("lease"));
    TRY(watched_->lease.open(container_->leasePage.c_str(), container_->leaseMs));
  }
  return Done{};
}

Status Start::giveStreams() {
  const Fd output = std::move(childOutput_);
  const Fd error = std::move(childError_);
  if (container_->logPath.empty()) {
    // Made before it was known that nobody wants them.
    watched_->output.reset();
    watched_->error.reset();
    return Done{};
  }
  const Owner owner = rootOwner(*container_);
  if (owner.uid == 0) return Done{};
  TRY(sys::changeOwner(output.get(), "", owner.uid, owner.gid, AT_EMPTY_PATH));
  return sys::changeOwner(error.get(), "", owner.uid, owner.gid, AT_EMPTY_PATH);
}

Status Start::mapIds() {
  TRY(steps_.begin("id maps"));
  if ((container_->namespaces & CLONE_NEWUSER) != 0) {
    TRY(writeMap(child_, "uid_map", container_->uidMap));
    TRY(writeMap(child_, "gid_map", container_->gidMap));
  } else if (hasUserNamespace(*container_)) {
    TRY(compareMaps(*container_, child_));
  }
  return sys::sendMessage(socket_.get(), "i", 1);
}

Status Start::admitChild() {
  std::array<Fd, cgroup::Placement::kMax> files;
  const size_t count = TRY(cgroups_.openLater(&files));
  int fds[cgroup::Placement::kMax];
  for (size_t index = 0; index < count; ++index) fds[index] = files[index].get();
  return sys::sendMessage(socket_.get(), "g", 1, fds, count);
}

Status Start::setPriorities() {
  if ((container_->process.flags & plan::kProcessOomScore) != 0) {
    TRY(steps_.begin("oom score"));
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", child_);
    char text[16];
    const int size = snprintf(text, sizeof text, "%d", container_->process.oomScore);
    TRY(sys::writeFile(AT_FDCWD, path, {text, static_cast<size_t>(size)}));
  }
  TRY(steps_.begin("priorities"));
  TRY(applyPriorities(container_->process.scheduling, child_));
  TRY(steps_.begin("rlimits"));
  for (const plan::Limit& limit : container_->process.limits) {
    // Raising a hard limit needs the host's privileges; lowering is left to the child, which still has work to do.
    struct rlimit now;
    if (prlimit(child_, static_cast<__rlimit_resource>(limit.resource), nullptr, &now) < 0) {
      return failure("prlimit", errno);
    }
    if (limit.hard > now.rlim_max) {
      TRY(sys::setLimit(child_, static_cast<int>(limit.resource), {now.rlim_cur, limit.hard}));
    }
  }
  return Done{};
}

Status Start::failedChild(const Report& report) {
  step_.assign(std::string_view(report.step, strnlen(report.step, sizeof report.step)));
  report_ = report;
  return failure("child", report.err);
}

Status Start::announceNetwork() {
  TRY(steps_.begin("network announcement"));
  Report message = {};
  const sys::Received received = TRY(sys::receiveMessage(socket_.get(), &message, sizeof message));
  if (received.size >= kReportBytes) return failedChild(message);
  if (received.size == 0) return failure("recvmsg", ECONNRESET);
  Report announced = {};
  announced.kind = ReportKind::network;
  announced.processPid = child_;
  return sys::sendMessage(kReportFd, &announced, kReportBytes);
}

Status Start::awaitNetwork() {
  TRY(steps_.begin("network"));
  char byte;
  const sys::Received received = TRY(sys::receiveMessage(kReportFd, &byte, 1));
  return received.size == 0 ? Status(failure("recvmsg", ECONNRESET, "the agent ended")) : Status(Done{});
}

Status Start::handMounts() {
  TRY(steps_.begin("rootfs"));
  // Each as soon as it is made: the child puts one in its place while the next is made.
  TRY(hand(TRY(makeRoot(*container_, userNamespace_.get(), &watched_->layers))));
  Area area;
  for (const plan::Mount& mount : container_->mounts) {
    if (!isMadeByShim(mount)) continue;
    FixedText<64> step("mount /");
    step.append(mount.destination.view());
    TRY(steps_.begin(step.view()));
    switch (mount.kind) {
      case plan::MountKind::dev:
        TRY(handDev(mount, &area));
        break;
      case plan::MountKind::cgroup:
        TRY(handCgroup(mount, area));
        break;
      default:
        TRY(hand(TRY(makeBind(mount, userNamespace_.get()))));
    }
  }
  return Done{};
}

Status Start::complete() {
  TRY(openFiles());
  TRY(giveStreams());
  if ((container_->flags & plan::kPlanUnattended) == 0) {
    TRY(steps_.begin("watch"));
    TRY(prepareWatch(watched_));
  }
  TRY(setPriorities());
  TRY(steps_.begin("cgroup limits"));
  TRY(cgroups_.applyLimits(container_->cgroups));
  TRY(steps_.begin("status"));
  report_.kind = ReportKind::started;
  report_.shimPid = getpid();
  report_.processPid = child_;
  report_.shimTicks = TRY(sys::startTicks(report_.shimPid));
  report_.processTicks = TRY(sys::startTicks(child_));
  report_.startedAtUnixMs = unixMs();
  watched_->startedAtUnixMs = report_.startedAtUnixMs;
  // Before the child can run anything, so that an agent that died meanwhile finds what it must adopt.
  TRY(writeStatus(watched_->runDirectory.get(),
                  {{report_.shimPid, report_.shimTicks}, {child_, report_.processTicks}, report_.startedAtUnixMs}));
  statusWritten_ = true;
  if ((container_->flags & plan::kPlanAwaitNetwork) != 0) TRY(awaitNetwork());
  TRY(steps_.begin("hand over mounts"));
  return sys::sendMessage(socket_.get(), "s", 1);
}

Status Start::hand(Fd mount) {
  const int fd = mount.get();
  return sys::sendMessage(socket_.get(), "m", 1, &fd, 1);
}

Status Start::handDev(const plan::Mount& mount, Area* area) {
  const Fd devices = TRY(makeDev(*container_, mount, area));
  const Fd cover = area->valid() ? TRY(makeCover(*area)) : Fd();
  const int fds[] = {devices.get(), cover.get()};
  return sys::sendMessage(socket_.get(), "m", 1, fds, cover.valid() ? 2 : 1);
}

Status Start::handCgroup(const plan::Mount& mount, const Area& area) {
  CgroupMounts made;
  TRY(makeCgroup(*container_, mount, area, &made));
  int fds[std::tuple_size_v<decltype(made.fds)>];
  for (size_t index = 0; index < made.count; ++index) fds[index] = made.fds[index].get();
  return sys::sendMessage(socket_.get(), "m", 1, fds, made.count);
}

Status Start::awaitExec() {
  TRY(steps_.begin("wait for exec"));
  for (;;) {
    Report message;
    int fd = -1;
    Result<sys::Received> received = sys::receiveMessage(socket_.get(), &message, sizeof message, &fd, 1);
    if (!received.ok()) break;
    Fd passed(received.value().fdCount == 1 ? fd : -1);
    if (received.value().size >= kReportBytes) return failedChild(message);
    if (received.value().size != 1) break;
    if (TRY(hear(*reinterpret_cast<const char*>(&message), std::move(passed)))) return Done{};
  }
  if (progress_->launching != 0) return Done{};
  // The socket closed without a word and before execve: the child was killed, usually for memory.
  step_.assign(progress_->step);
  const bool oom = watched_->oomCounter.valid() && readCounter(watched_->oomCounter.get(), "oom_kill") > 0;
  return failure("killed", oom ? ENOMEM : ECONNRESET);
}

Result<bool> Start::hear(char kind, Fd passed) {
  if (kind == static_cast<char>(ChildMessage::ready)) return true;
  Report report = report_;
  if (kind == static_cast<char>(ChildMessage::terminal) && passed.valid()) {
    report.kind = ReportKind::terminal;
    const int master = passed.get();
    TRY(sys::sendMessage(kReportFd, &report, kReportBytes, &master, 1));
    return false;
  }
  if (kind != static_cast<char>(ChildMessage::mounted)) return failure("recvmsg", EBADMSG);
  report.kind = ReportKind::mounted;
  TRY(sys::sendMessage(kReportFd, &report, kReportBytes));
  char byte;
  int state = -1;
  const sys::Received answer = TRY(sys::receiveMessage(kReportFd, &byte, 1, &state, 1));
  // A caller that ended, or whose hooks failed, answers with end of file: all is undone.
  if (answer.fdCount == 0) return failure("hook", ECANCELED);
  Fd owned(state);
  TRY(sys::sendMessage(socket_.get(), &byte, 1, &state, 1));
  return false;
}

Status Start::run(const plan::Container& container, const Fd& planFile) {
  container_ = &container;
  steps_.follow(container);
  if (birth_ != nullptr && !suits(container)) undo();
  Status handed = Done{};
  if (birth_ != nullptr) {
    TRY(steps_.begin("hand over plan"));
    const int file = planFile.get();
    handed = sys::sendMessage(socket_.get(), "p", 1, &file, 1);
  } else {
    if (!container.logPath.empty()) TRY(openStreams());
    TRY(begin(container.namespaces, container.cgroups, &container));
  }
  if (handed.ok()) handed = mapIds();
  // Not before the plan is there: on a busy machine the child that was born waits for this processor, and has more to
  // do.
  if (handed.ok()) handed = meetChild(container.namespaces, container.cgroups, hasUserNamespace(container));
  if (handed.ok()) handed = admitChild();
  if (handed.ok() && (container_->flags & plan::kPlanAwaitNetwork) != 0) handed = announceNetwork();
  if (handed.ok()) handed = handMounts();
  if (handed.ok()) handed = complete();
  if (!handed.ok()) {
    if (report_.kind == ReportKind::failed) return handed;
    // A broken socket or a vanished process is the echo of a failure that the child may have described.
    struct pollfd slot = {socket_.get(), POLLIN, 0};
    if (sys::retry([&] { return poll(&slot, 1, 0); }) > 0) TRY(awaitExec());
    return handed;
  }
  TRY(awaitExec());
  cgroups_.keep();
  done_ = true;
  return Done{};
}

}  // namespace bulkhead::init
