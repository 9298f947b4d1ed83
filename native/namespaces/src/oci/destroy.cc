#include "oci/destroy.h"

#include <poll.h>
#include <signal.h>

#include <ctime>

#include "cgroup/control.h"
#include "oci/document.h"
#include "oci/hooks.h"
#include "oci/scope.h"
#include "sys/syscalls.h"

namespace bulkhead::oci {
namespace {

constexpr int64_t kDeadlineMs = 10'000;
// A removal that was refused is tried again after a change of the cgroup, or after this long where there is no notice.
constexpr int kRetryMs = 5;

int64_t nowMs() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

bool removeCgroups(Session* session, const cgroup::Paths& paths) {
  if (paths.entries.empty()) return true;
  Result<Fd> events = cgroup::openEvents(paths);
  for (const int64_t deadline = nowMs() + kDeadlineMs;;) {
    Result<bool> removed = cgroup::removeOnce(paths);
    if (!removed.ok()) return session->fail("cannot remove the cgroups", removed.error());
    if (removed.value()) return true;
    if (nowMs() > deadline) return session->fail("the container's processes do not end");
    // Again each time: a process that forked while the list was read is only in the next.
    Status killed = cgroup::killAll(paths);
    if (!killed.ok()) return session->fail("cannot kill", killed.error());
    struct pollfd slot = {events.ok() ? events.value().get() : -1, POLLPRI, 0};
    poll(&slot, 1, kRetryMs);
  }
}

}  // namespace

bool destroy(Session* session, Instance* instance) {
  if (instance->phase() != Phase::stopped) {
    Result<Fd> process = sys::openProcess(instance->process());
    if (process.ok()) (void)sys::signalPid(process.value().get(), SIGKILL).ok();
  }
  // A frozen v1 cgroup keeps even a killed process.
  const cgroup::Paths paths = instance->cgroups();
  Result<bool> frozen = cgroup::frozen(paths);
  if (frozen.ok() && frozen.value()) (void)cgroup::requestFreeze(paths, false).ok();
  const std::string unit = instance->unit();
  return removeCgroups(session, paths) && (unit.empty() || stopScope(session, unit)) && instance->remove();
}

bool deleteContainer(Session* session, Instance* instance) {
  rapidjson::Document config;
  const bool known = instance->hasRecord() && instance->readConfig(&config);
  if (!destroy(session, instance)) return false;
  if (!known) return true;
  instance->setProcess({});
  Session hooks;
  if (!runHooksAt(&hooks, config, "poststop", *instance, Phase::stopped)) session->warn(hooks.failure());
  return true;
}

}  // namespace bulkhead::oci
