// The systemd scope of a container (--systemd-cgroup): a unit whose cgroup is ours below its top.
#pragma once

#include <string>
#include <string_view>

#include "cgroup/control.h"
#include "oci/session.h"
#include "plan/json.h"
#include "sys/fd.h"

namespace bulkhead::oci {

class Scope {
 public:
  /**
   * Reads `linux.cgroupsPath` as "slice:prefix:name", and says where the container's cgroup will be: in a directory of
   * its own below the scope's, which systemd leaves alone. Needs cgroup v2.
   */
  bool place(Session* session, const std::string& cgroupsPath, const std::string& id, cgroup::Paths* paths);
  /** Makes the unit with the limits and "org.systemd.property." annotations of a config.json, and waits for it. */
  bool start(Session* session, const plan::View& spec);
  /** The container is in its cgroup: what kept the unit alive until then goes. */
  void settle();
  ~Scope() { settle(); }

  /** Empty: there is none. */
  const std::string& unit() const { return unit_; }

 private:
  bool holdOpen(Session* session);
  bool handDown(Session* session);

  std::string unit_;
  std::string slice_;
  /** The scope's directory. */
  std::string directory_;
  /** A process that waits in the unit, for systemd makes none without one; it ends with this descriptor. */
  Fd holder_;
  Fd holderProcess_;
  pid_t holderPid_ = 0;
};

/** "a-b.slice" as the path of its cgroup, "/a.slice/a-b.slice"; empty when it is no slice. */
std::string slicePath(std::string_view slice);

/** Tells systemd of limits that have changed. */
bool updateScope(Session* session, const std::string& unit, const plan::View& resources);
/** Ends the unit; one that is gone already is no failure. */
bool stopScope(Session* session, const std::string& unit);

}  // namespace bulkhead::oci
