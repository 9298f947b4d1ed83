#include "oci/bundle.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>

#include "oci/document.h"
#include "sys/syscalls.h"

namespace bulkhead::oci {

bool Bundle::load(Session* session, const std::string& directory) {
  char resolved[PATH_MAX];
  if (realpath(directory.c_str(), resolved) == nullptr) {
    return session->fail("bundle", failure("realpath", errno, directory));
  }
  path = resolved;
  // A pipe would be waited for, and a device never ends.
  Result<struct stat> status = sys::statusAt(AT_FDCWD, (path + "/config.json").c_str(), 0);
  if (!status.ok()) return session->fail("config.json", status.error());
  if (!S_ISREG(status.value().st_mode)) return session->fail("config.json is no file");
  if (!readText(session, AT_FDCWD, (path + "/config.json").c_str(), &config) ||
      !parseText(session, "config.json", config, &spec)) {
    return false;
  }
  // Major version 1 promises that what a runtime does not know can be ignored.
  const std::string version = textMember(spec, "ociVersion");
  if (!version.starts_with("1.")) return session->fail("config.json: ociVersion \"" + version + "\" is not 1.x");
  const auto part = spec.FindMember("linux");
  const bool labelled = part != spec.MemberEnd() && !textMember(part->value, "mountLabel").empty();
  // As SELinux's own library finds out; the kernel would call it an invalid argument.
  if (labelled && access("/sys/fs/selinux/enforce", F_OK) != 0) {
    return session->fail("config.json: /linux/mountLabel needs SELinux, which is off on this host");
  }
  const auto root = spec.FindMember("root");
  const std::string given = root == spec.MemberEnd() ? "" : textMember(root->value, "path");
  if (given.empty()) return session->fail("config.json: root.path is required");
  const std::string whole = given[0] == '/' ? given : path + "/" + given;
  if (realpath(whole.c_str(), resolved) == nullptr) return session->fail("rootfs", failure("realpath", errno, whole));
  rootfs = resolved;
  return true;
}

std::string Bundle::cgroupsPath() const {
  const auto part = spec.FindMember("linux");
  return part == spec.MemberEnd() ? "" : textMember(part->value, "cgroupsPath");
}

}  // namespace bulkhead::oci
