// What the runtime itself makes in a container lies on one tmpfs: /dev, the directories of v1 hierarchies, and the
// empty one that covers masked directories. Whenever a memory cgroup goes, the kernel visits two lists of each file
// system there is (memcg_reparent_list_lrus, mm/list_lru.c), so every file system less makes every container's end
// cheaper.
#pragma once

#include "init/root.h"
#include "plan/plan.h"
#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::init {

class Area {
 public:
  /** With the options of a plan; its root directory belongs to `owner`. */
  static Result<Area> make(const Span<plan::MountOption>& options, Owner owner);
  Area() = default;

  /**
   * A new directory of it, detached, without a way to the others. EINVAL before Linux 6.15, which copies no detached
   * mount; then, as after any other error, nothing of the directory is left.
   */
  Result<Fd> part(const char* name, mode_t mode, Owner owner) const;
  /** All of it, which is then no area any more. */
  Fd release() { return std::move(whole_); }
  bool valid() const { return whole_.valid(); }
  int get() const { return whole_.get(); }

 private:
  Fd whole_;
};

}  // namespace bulkhead::init
