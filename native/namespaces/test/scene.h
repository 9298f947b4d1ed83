// Where native programs try whole starts: one instance's paths, its cgroups, and the plans for them.
#pragma once

#include <string>

#include "cgroup/control.h"

namespace bulkhead::test {

struct SceneOptions {
  /** Directory with the programs, the only layer. */
  std::string layer;
  /** For state that lies on disk. */
  std::string area;
  /** Per boot; on a tmpfs, as the agent's is. */
  std::string runDirectory;
  /** Last component of every cgroup. */
  std::string cgroupName;
};

class Scene {
 public:
  explicit Scene(SceneOptions options);

  /** BirthInput of the first process of such a plan, made ahead. */
  std::string birthInput() const;
  /** PlanInput with all namespaces, a filter of hundreds of calls, limits, masks and a log. */
  std::string containerInput(const std::string& arguments, bool trace) const;
  /** ExecInput for a process in the container whose first process is `pid`. */
  std::string execInput(const std::string& arguments, int pid, unsigned long long startTicks) const;

  const cgroup::Paths& cgroups() const { return cgroups_; }
  const SceneOptions& options() const { return options_; }
  bool cgroupsExist() const;
  /** Ends and removes what is in the cgroups, as the agent does for a start that was cut off. False after 5 s. */
  bool endCgroups() const;
  void removeRecords() const;

 private:
  std::string placement() const;

  SceneOptions options_;
  cgroup::Paths cgroups_;
};

}  // namespace bulkhead::test
