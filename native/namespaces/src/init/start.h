// The shim's set-up of one container, with everything undone unless it succeeds.
#pragma once

#include <sys/types.h>

#include "cgroup/directory.h"
#include "init/report.h"
#include "init/watch.h"
#include "plan/plan.h"

namespace bulkhead::init {

class Start {
 public:
  Start(const plan::Container& container, Progress* progress, Watched* watched)
      : container_(container),
        steps_(progress, (container.flags & plan::kPlanTrace) != 0, container.faultStep),
        progress_(progress),
        watched_(watched) {}

  /** Everything up to a running entrypoint. On failure all of it is undone when this object ends. */
  Status run();
  ~Start();
  std::string_view step() const { return step_.empty() ? steps_.current() : step_.view(); }
  const Report& report() const { return report_; }

 private:
  Status openFiles();
  Status cloneChild();
  Status admitChild();
  Status handMounts();
  Status hand(Fd mount);
  /** Tells the caller that the child has its network namespace. */
  Status announceNetwork();
  /** Waits until the caller has connected it; a caller that died meanwhile is a failure. */
  Status awaitNetwork();
  /** A failure that the child described, as this start's own. */
  Status failedChild(const Report& report);
  /** Until execve, or until a gated child waits. */
  Status awaitExec();
  /** A message of the child that is no failure; true when it was its last. */
  Result<bool> hear(char kind, Fd passed);

  const plan::Container& container_;
  Steps steps_;
  Progress* progress_;
  Watched* watched_;
  cgroup::Placement cgroups_;
  Fd socket_;
  Fd childOutput_;
  Fd childError_;
  Fd userNamespace_;
  pid_t child_ = 0;
  bool statusWritten_ = false;
  bool done_ = false;
  FixedText<64> step_;  // when the child failed: its step
  Report report_ = {};
};

}  // namespace bulkhead::init
