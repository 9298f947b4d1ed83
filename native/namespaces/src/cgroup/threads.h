// Where the threads of an instance may run, asked of the scheduler itself.
#pragma once

#include <sys/types.h>

#include <vector>

#include "cgroup/control.h"

namespace bulkhead::cgroup {

struct ThreadAffinity {
  size_t threads = 0;
  /** of them, how many may run on a CPU that is not among those given */
  size_t straying = 0;
  /** every such CPU, ascending */
  std::vector<unsigned> cpus;
};

/** Looks at every thread of the cgroup and those below; a thread that ends meanwhile does not count. */
Result<ThreadAffinity> readAffinity(const Paths& paths, const std::vector<unsigned>& given);

}  // namespace bulkhead::cgroup
