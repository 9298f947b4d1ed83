// features: what this runtime supports, as the runtime specification's features document.
#include <cstdio>

#include "oci/command.h"

namespace bulkhead::oci {
namespace {

constexpr const char* kFeatures = R"({
  "ociVersionMin": "1.0.0",
  "ociVersionMax": "1.2.0",
  "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
  "linux": {
    "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
    "cgroup": {"v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false},
    "seccomp": {"enabled": true, "archs": ["SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]},
    "apparmor": {"enabled": false},
    "selinux": {"enabled": false},
    "intelRdt": {"enabled": false},
    "mountExtensions": {"idmap": {"enabled": true}}
  }
}
)";

}  // namespace

int runFeatures(Session*, const Arguments&) {
  fputs(kFeatures, stdout);
  return 0;
}

}  // namespace bulkhead::oci
