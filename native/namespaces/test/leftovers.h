// What a start may leave on a host, and the directories it is tried in.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

#include "scene.h"

namespace bulkhead::test {

class Leftovers {
 public:
  static Leftovers now(const Scene& scene);
  /** What is there now and was not before, and the other way round; "" when nothing. */
  std::string difference(const Leftovers& later) const;

  /** Children of this process, zombies included. */
  static std::set<pid_t> children();
  /** Reaps until no child is left but those in `kept`; false after 10 s, longer than any grace of a shim. */
  static bool awaitOnly(const std::set<pid_t>& kept);
  static std::vector<pid_t> processesOf(const Scene& scene);
  static std::vector<std::string> recordsOf(const Scene& scene);
  static bool hasExit(const Scene& scene);
  /** Whether the call's manual page knows EINTR. */
  static bool isInterruptible(long call);

 private:
  std::set<std::string> mounts_;
  std::set<std::string> descriptors_;
  std::set<std::string> files_;
};

/** A layer with a static user space, a state directory and a run directory; gone when it ends. */
class Stage {
 public:
  Stage();
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  std::string layer() const { return root_ + "/layer"; }
  std::string area() const { return root_; }
  const std::string& runDirectory() const { return runDirectory_; }

 private:
  std::string root_;
  std::string runDirectory_;
};

}  // namespace bulkhead::test
