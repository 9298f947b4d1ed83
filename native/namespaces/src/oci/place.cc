#include "oci/place.h"

#include <fcntl.h>

#include <algorithm>

#include "cgroup/host.h"
#include "oci/document.h"

namespace bulkhead::oci {
namespace {

bool hasParentStep(std::string_view path) {
  return path == ".." || path.starts_with("../") || path.ends_with("/..") || path.find("/../") != std::string::npos;
}

/** The caller's own cgroup of a hierarchy; "/" when it lies outside of what is mounted here. */
std::string ownCgroup(const std::string& table, std::string_view controller) {
  for (size_t begin = 0; begin < table.size();) {
    const size_t end = std::min(table.find('\n', begin), table.size());
    const std::string_view line(table.data() + begin, end - begin);
    begin = end + 1;
    // "4:memory:/path", or "0::/path" for the unified hierarchy
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string list = "," + std::string(line.substr(first + 1, second - first - 1)) + ",";
    const std::string wanted = controller == "unified" ? ",," : "," + std::string(controller) + ",";
    if (list.find(wanted) == std::string::npos) continue;
    const std::string_view path = line.substr(second + 1);
    return hasParentStep(path) ? "/" : std::string(path);
  }
  return "/";
}

std::string joined(std::string base, std::string_view rest) {
  while (!base.empty() && base.back() == '/') base.pop_back();
  while (!rest.empty() && rest.front() == '/') rest.remove_prefix(1);
  return base + "/" + std::string(rest);
}

}  // namespace

bool placeCgroups(Session* session, std::string_view cgroupsPath, std::string_view id, cgroup::Paths* paths) {
  const std::string wanted(cgroupsPath.empty() ? id : cgroupsPath);
  if (hasParentStep(wanted)) return session->fail("linux.cgroupsPath must not contain '..'");
  const bool absolute = wanted[0] == '/';
  if (absolute && wanted.find_first_not_of('/') == std::string::npos) {
    return session->fail("linux.cgroupsPath must not be the root of a hierarchy");
  }
  std::string own;
  if (!absolute && !readText(session, AT_FDCWD, "/proc/self/cgroup", &own)) return false;
  cgroup::HostFeatures host;
  cgroup::findMounts(&host);
  for (const auto& [controller, mount] : host.cgroupMounts) {
    if (paths->exact(controller) != nullptr) continue;
    std::string directory =
        absolute ? joined(mount, wanted) : joined(joined(mount, ownCgroup(own, controller)), wanted);
    while (directory.back() == '/') directory.pop_back();
    paths->entries.emplace_back(controller, std::move(directory));
  }
  if (paths->entries.empty()) return session->fail("no cgroup hierarchy is mounted");
  return true;
}

}  // namespace bulkhead::oci
