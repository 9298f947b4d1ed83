// What this host's kernel offers, found once.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace bulkhead::cgroup {

struct HostFeatures {
  std::string cgroupMode;  // "v1", "hybrid" or "v2"
  std::vector<std::pair<std::string, std::string>> cgroupMounts;
  std::string kernel;
  bool idmappedMounts = false;
  bool overlayLowerdirFd = false;
  bool userNamespaces = false;
  bool seccomp = false;
  /** Landlock that can say where a container writes. */
  bool writeConfinement = false;
  std::vector<std::string> problems;
};

HostFeatures probeHost();
/** The part of it that says where cgroups are: `cgroupMode`, `cgroupMounts`. */
void findMounts(HostFeatures* features);

}  // namespace bulkhead::cgroup
