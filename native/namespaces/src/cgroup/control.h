// What is done to the cgroups of a running or ended instance. Everything here returns at once: waiting is the caller's.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "plan/plan.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::cgroup {

/** CgroupPlacement: controller and absolute directory. */
struct Paths {
  std::vector<std::pair<std::string, std::string>> entries;

  /** The directory of a controller; on a host with v2 only, the unified one. Null when the instance has none. */
  const std::string* find(std::string_view controller) const;
  const std::string* unified() const { return exact("unified"); }
  const std::string* exact(std::string_view controller) const;
  /** Only a unified directory: v2 files apply. */
  bool isV2() const { return entries.size() == 1 && unified() != nullptr; }
};

/** Writes limits of a live cgroup; when one is refused, those written before it get their old values back. */
Status applyLive(const Span<plan::CgroupDirectory>& directories);

/** Asks for the freeze (or thaw); frozen() tells when it has happened. */
Status requestFreeze(const Paths& paths, bool freeze);
Result<bool> frozen(const Paths& paths);

/** SIGKILL to every process, frozen ones too. */
Status killAll(const Paths& paths);
/** Any signal to every process there is now; SIGKILL as killAll(). */
Status signalAll(const Paths& paths, int signal);
/** The numbers of all processes in the cgroup and below. */
Result<std::vector<pid_t>> processes(const Paths& paths);

/** Removes each directory and what is below it; false while one still holds a process. */
Result<bool> removeOnce(const Paths& paths);

/** A descriptor of the unified directory's cgroup.events, which polls POLLPRI on every change. */
Result<Fd> openEvents(const Paths& paths);

}  // namespace bulkhead::cgroup
