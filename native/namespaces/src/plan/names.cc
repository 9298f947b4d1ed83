#include "plan/names.h"

#include <linux/sched.h>
#include <sys/resource.h>

#include <iterator>

namespace bulkhead::plan {
namespace {

// include/uapi/linux/capability.h, by number
constexpr std::string_view kCapabilities[] = {
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
};

struct Named {
  std::string_view name;
  uint32_t number;
};

constexpr Named kLimits[] = {
    {"AS", RLIMIT_AS},           {"CORE", RLIMIT_CORE},         {"CPU", RLIMIT_CPU},
    {"DATA", RLIMIT_DATA},       {"FSIZE", RLIMIT_FSIZE},       {"LOCKS", RLIMIT_LOCKS},
    {"MEMLOCK", RLIMIT_MEMLOCK}, {"MSGQUEUE", RLIMIT_MSGQUEUE}, {"NICE", RLIMIT_NICE},
    {"NOFILE", RLIMIT_NOFILE},   {"NPROC", RLIMIT_NPROC},       {"RSS", RLIMIT_RSS},
    {"RTPRIO", RLIMIT_RTPRIO},   {"RTTIME", RLIMIT_RTTIME},     {"SIGPENDING", RLIMIT_SIGPENDING},
    {"STACK", RLIMIT_STACK},
};

constexpr Named kNamespaces[] = {
    {"mount", CLONE_NEWNS}, {"pid", CLONE_NEWPID},   {"network", CLONE_NEWNET},   {"ipc", CLONE_NEWIPC},
    {"uts", CLONE_NEWUTS},  {"user", CLONE_NEWUSER}, {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME},
};

}  // namespace

std::vector<std::string_view> capabilityNames() {
  return {std::begin(kCapabilities), std::end(kCapabilities)};
}

std::vector<std::string_view> namespaceNames() {
  std::vector<std::string_view> names;
  for (const Named& entry : kNamespaces) names.push_back(entry.name);
  return names;
}

int capabilityNumber(std::string_view name) {
  if (!name.starts_with("CAP_")) return -1;
  name.remove_prefix(4);
  for (size_t number = 0; number < std::size(kCapabilities); ++number) {
    if (kCapabilities[number] == name) return static_cast<int>(number);
  }
  return -1;
}

int limitNumber(std::string_view name) {
  if (!name.starts_with("RLIMIT_")) return -1;
  name.remove_prefix(7);
  for (const Named& limit : kLimits) {
    if (limit.name == name) return static_cast<int>(limit.number);
  }
  return -1;
}

uint32_t namespaceFlag(std::string_view type) {
  for (const Named& entry : kNamespaces) {
    if (entry.name == type) return entry.number;
  }
  return 0;
}

}  // namespace bulkhead::plan
