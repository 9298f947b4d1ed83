// The shim's set-up of one container, with everything undone unless it succeeds.
#pragma once

#include <sys/types.h>

#include "cgroup/directory.h"
#include "init/base.h"
#include "init/report.h"
#include "init/watch.h"
#include "plan/plan.h"

namespace bulkhead::init {

class Area;

class Start {
 public:
  Start(Progress* progress, Watched* watched, const Base& base)
      : steps_(progress), progress_(progress), watched_(watched), base_(base) {}

  /**
   * Makes the first process before there is a plan; it waits in its namespaces and cgroups. What fails before the plan
   * comes is undone and no failure yet: `run` will make everything itself, and say what is wrong. `birth` must live as
   * long as this.
   */
  void bear(const plan::Birth& birth);
  /**
   * Everything up to a running entrypoint. On failure all of it is undone when this object ends. `planFile`: what a
   * process that was born before its plan decodes it from.
   */
  Status run(const plan::Container& container, const Fd& planFile);
  ~Start();
  std::string_view step() const { return step_.empty() ? steps_.current() : step_.view(); }
  const Report& report() const { return report_; }

 private:
  /** Cgroups, and the process in them; without a container it is one that will get its plan later. */
  Status begin(uint32_t namespaces, const Span<plan::CgroupDirectory>& cgroups, const plan::Container* container);
  /** Every cgroup of a process that nobody waits for yet. */
  Status makeAhead(const plan::Birth& birth);
  /** What needs no plan, while the child makes its network namespace. */
  Status meetChild(uint32_t namespaces, const Span<plan::CgroupDirectory>& cgroups, bool ownUser);
  Status cloneChild(uint32_t namespaces, const plan::Container* container);
  Status openStreams();
  /** The process that was born is alive, and one that this plan may have. */
  bool suits(const plan::Container& container) const;
  /** Takes back everything of `begin` and `openStreams`. */
  void undo();

  /** What the child waits for first. */
  Status mapIds();
  /** Next: the cgroups of `meetChild`. */
  Status admitChild();
  /** And then: its root and what lies on it. */
  Status handMounts();
  /** Everything else, while it puts itself together; it runs nothing of the image before it has heard of the end. */
  Status complete();
  Status openFiles();
  Status giveStreams();
  Status setPriorities();
  Status hand(Fd mount);
  /** With the cover of masked directories, where it can be made there. */
  Status handDev(const plan::Mount& mount, Area* area);
  Status handCgroup(const plan::Mount& mount, const Area& area);
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

  const plan::Birth* birth_ = nullptr;
  const plan::Container* container_ = nullptr;
  Steps steps_;
  Progress* progress_;
  Watched* watched_;
  const Base& base_;
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
