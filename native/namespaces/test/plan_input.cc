#include "plan_input.h"

#include <cstdio>
#include <cstdlib>

#include "seccomp/syscalls.h"

namespace bulkhead::test {
namespace {

// What a container has no business with; all other names of the table are allowed.
constexpr std::string_view kRefused[] = {
    "acct",          "add_key",         "bpf",          "clock_adjtime",    "clock_settime",  "create_module",
    "delete_module", "finit_module",    "fsconfig",     "fsmount",          "fsopen",         "fspick",
    "init_module",   "ioperm",          "iopl",         "io_uring_enter",   "io_uring_setup", "io_uring_register",
    "kexec_load",    "keyctl",          "mount",        "mount_setattr",    "move_mount",     "open_by_handle_at",
    "open_tree",     "perf_event_open", "pivot_root",   "process_vm_readv", "quotactl",       "reboot",
    "request_key",   "setns",           "settimeofday", "swapoff",          "swapon",         "umount2",
    "unshare",       "userfaultfd",     "vhangup",      "personality",      "socket",         "clone",
    "clone3"};

bool refused(std::string_view name) {
  for (const std::string_view one : kRefused) {
    if (one == name) return true;
  }
  return false;
}

struct Named {
  std::string_view name;
  int number;
};
constexpr Named kNames[] = {
#include "seccomp/syscalls_x86_64.h"
};

}  // namespace

std::string planInput() {
  return R"({
    "spec": {
      "process": {"args": ["sleep", "1"], "env": ["PATH=/bin", "A=b"], "cwd": "/work", "noNewPrivileges": true,
                  "user": {"uid": 5, "gid": 6, "additionalGids": [7]},
                  "capabilities": {"bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]},
                  "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]},
      "root": {"readonly": false},
      "hostname": "box",
      "mounts": [{"destination": "/proc", "type": "proc", "options": ["nosuid", "noexec", "nodev"]},
                 {"destination": "/dev", "type": "tmpfs", "options": ["mode=755"]},
                 {"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["rbind", "ro"]}],
      "linux": {
        "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "user"}, {"type": "uts"}, {"type": "network"}],
        "uidMappings": [{"containerID": 0, "hostID": 268435456, "size": 65536}],
        "gidMappings": [{"containerID": 0, "hostID": 268435456, "size": 65536}],
        "resources": {"cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0-1,3"},
                      "memory": {"limit": 67108864}, "pids": {"limit": 50}},
        "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
        "sysctl": {"net.ipv4.ip_forward": "1"}}},
    "rootfs": {"kind": "overlay", "layers": ["/l/2", "/l/1"], "upper": "/i/upper", "work": "/i/work"},
    "cgroup": {"paths": {"cpu": "/c/cpu/x", "cpuacct": "/c/cpu/x", "cpuset": "/c/cpuset/x", "memory": "/c/memory/x",
                         "pids": "/c/pids/x", "unified": "/c/unified/x"}},
    "runDir": "/run/x",
    "log": {"path": "/i/log", "maxBytes": 65536, "maxFiles": 2},
    "lease": {"page": "/run/lease", "leaseMs": 300000},
    "imageUser": "redis",
    "binds": {"2": {"beneath": "/srv", "idmap": true}}
  })";
}

std::string with(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  if (at == std::string::npos || text.find(from, at + 1) != std::string::npos) {
    fprintf(stderr, "not exactly once in the input: %.*s\n", static_cast<int>(from.size()), from.data());
    abort();
  }
  return text.replace(at, from.size(), to);
}

std::string compileError(const std::string& json) {
  plan::Compiled compiled;
  plan::CompileError error;
  if (plan::compileContainer(json, nullptr, &compiled, &error)) return "";
  return error.pointer + ": " + error.message;
}

std::string allowListProfile() {
  std::string names;
  for (const Named& entry : kNames) {
    if (refused(entry.name)) continue;
    names += names.empty() ? "\"" : ",\"";
    names += std::string(entry.name) + "\"";
  }
  return R"({"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],
    "syscalls":[{"names":[)" +
         names + R"(],"action":"SCMP_ACT_ALLOW"},
      {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":0,"op":"SCMP_CMP_EQ"}]},
      {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]},
      {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":4294967295,"op":"SCMP_CMP_EQ"}]},
      {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":38,"op":"SCMP_CMP_LT"}]},
      {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":40,"op":"SCMP_CMP_GT"}]},
      {"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]},
      {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]})";
}

}  // namespace bulkhead::test
