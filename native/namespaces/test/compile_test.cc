#include <linux/mount.h>

#include "plan/codec.h"
#include "plan_input.h"
#include "runner.h"

namespace bulkhead {
namespace {

using test::compileError;
using test::planInput;
using test::with;

TEST(theSampleCompiles) {
  EXPECT_TEXT(compileError(planInput()), "");
}

struct Wrong {
  const char* from;
  const char* to;
  const char* error;
};

TEST(everyWrongInputIsNamedByItsPointer) {
  const Wrong table[] = {
      {R"(["sleep", "1"])", "[]", "/spec/process/args: must not be empty"},
      {R"(["sleep", "1"])", R"(["a\u0000b"])", "/spec/process/args/0: must not contain a NUL byte"},
      {R"("A=b")", R"("novalue")", "/spec/process/env/1: must be NAME=value"},
      {R"("/work")", R"("work")", "/spec/process/cwd: must be an absolute path"},
      {R"("uid": 5)", R"("uid": -1)", "/spec/process/user/uid: must be from 0 to 4294967295"},
      {R"("uid": 5)", R"("uid": 1.5)", "/spec/process/user/uid: must be an integer"},
      {R"("RLIMIT_NOFILE")", R"("RLIMIT_NOPE")", "/spec/process/rlimits/0/type: is no resource limit"},
      {R"("soft": 100)", R"("soft": 300)", "/spec/process/rlimits/0/soft: must not be above hard"},
      {R"("/dev", "type": "tmpfs")", R"("/dev", "type": "ext4")",
       "/spec/mounts/1/type: is not a supported file system"},
      {R"(["mode=755"])", R"(["ridmap"])", "/spec/mounts/1/options: can only id-map a bind mount"},
      {R"(["rbind", "ro"])", R"(["rbind", "tmpcopyup"])", "/spec/mounts/2/options: tmpcopyup is for tmpfs"},
      {R"(["rbind", "ro"])", R"(["rbind", "size=1"])",
       "/spec/mounts/2/options: has an option that no bind mount takes"},
      {R"("source": "/srv/data",)", R"("source": "/srv/data", "uidMappings": [{"containerID": 0, "size": 1}],)",
       "/spec/mounts/2: needs both or neither id mappings"},
      {R"(["mode=755"])", R"(["evil=1"])", "/spec/mounts/1/options/0: is not a known mount option"},
      {R"("destination": "/data")", R"("destination": "/proc/sys")",
       "/spec/mounts/2/destination: must not cover a part of /proc"},
      {R"("destination": "/data")", R"("destination": "/a/../b")", "/spec/mounts/2/destination: must not contain '..'"},
      {R"("destination": "/data")", R"("destination": "/")", "/spec/mounts/2/destination: must not be the root itself"},
      {R"("destination": "/proc",)", R"("destination": "/other",)",
       "/spec/mounts/0/destination: proc may only be mounted on /proc"},
      {R"("source": "/srv/data")", R"("source": "/srvdata")", "/spec/mounts/2/source: is not below its allowed root"},
      {R"({"2": {)", R"({"9": {)", "/binds/9: does not name a mount"},
      {R"({"2": {)", R"({"0": {)", "/binds/0: does not name a bind mount"},
      {R"({"type": "pid"})", R"({"type": "mount"})", "/spec/linux/namespaces/1/type: is given twice"},
      {R"({"type": "mount"}, )", "", "/spec/linux/namespaces: must have a mount namespace"},
      {R"({"type": "user"}, )", "", "/spec/linux/uidMappings: needs a user namespace"},
      {R"({"type": "uts"}, )", "", "/spec/hostname: needs its own uts namespace"},
      {R"(, {"type": "network"})", "", "/spec/linux/sysctl/net.ipv4.ip_forward: needs its own namespace"},
      {"net.ipv4.ip_forward", "kernel.core_pattern",
       "/spec/linux/sysctl/kernel.core_pattern: is no sysctl of a namespace"},
      {"net.ipv4.ip_forward", "net/../kernel/x", "/spec/linux/sysctl/net~1..~1kernel~1x: is no sysctl of a namespace"},
      {R"("0-1,3")", R"("3-1")", "/spec/linux/resources/cpu/cpus: has a range that ends before it starts"},
      {R"("0-1,3")", R"("0-99999")", "/spec/linux/resources/cpu/cpus: is no CPU list"},
      {R"("limit": 50)", R"("limit": "50")", "/spec/linux/resources/pids/limit: must be an integer"},
      {R"("pids": "/c/pids/x", )", "", "/cgroup/paths: lacks the pids controller that a limit needs"},
      {R"("/c/pids/x")", R"("/c/../pids")", "/cgroup/paths/pids: must not contain '..'"},
      {R"("kind": "overlay")", R"("kind": "magic")", "/rootfs/kind: must be overlay or directory"},
      {R"(["/l/2", "/l/1"])", "[]", "/rootfs/layers: must have from 1 to 500 layers"},
      {R"("/run/x")", R"("")", "/runDir: must not be empty"},
      {R"("maxBytes": 65536)", R"("maxBytes": 10)", "/log/maxBytes: must be at least 32768"},
      {R"("leaseMs": 300000)", R"("leaseMs": 0)", "/lease/leaseMs: must be from 1 to 1099511627776"},
      {R"("noNewPrivileges": true)", R"("noNewPrivileges": 1)", "/spec/process/noNewPrivileges: must be true or false"},
      {R"("noNewPrivileges": true)", R"("terminal": true)", "/spec/process/terminal: is only supported for exec"},
      {R"("noNewPrivileges": true)", R"("apparmorProfile": 1)", "/spec/process/apparmorProfile: must be a string"},
      {R"("noNewPrivileges": true)", R"("scheduler": {"policy": "SCHED_FIFO"})",
       "/spec/process/scheduler/priority: must be from 1 to 99 for this policy"},
      {R"("noNewPrivileges": true)", R"("scheduler": {"policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 4})",
       "/spec/process/scheduler: must have runtime <= deadline <= period"},
      {R"("noNewPrivileges": true)", R"("scheduler": {"policy": "SCHED_OTHER", "flags": ["X"]})",
       "/spec/process/scheduler/flags/0: is no known flag"},
      {R"("noNewPrivileges": true)", R"("ioPriority": {"class": "best"})",
       "/spec/process/ioPriority/class: is no class of I/O priority"},
      {R"("maskedPaths")", R"("personality": {"domain": "BSD"}, "maskedPaths")",
       "/spec/linux/personality/domain: must be LINUX or LINUX32"},
      {R"("maskedPaths")", R"("memoryPolicy": {"mode": "MPOL_BIND"}, "maskedPaths")",
       "/spec/linux/memoryPolicy/nodes: is required by this mode"},
      {R"("maskedPaths")", R"("timeOffsets": {"boottime": {"secs": 1}}, "maskedPaths")",
       "/spec/linux/timeOffsets: needs its own time namespace"},
      {R"("maskedPaths")", R"("seccomp": {"defaultAction": "SCMP_ACT_NOTIFY"}, "maskedPaths")",
       "/spec/linux/seccomp/listenerPath: is required by SCMP_ACT_NOTIFY"},
      {R"({"type": "mount"})", R"({"type": "mount", "path": "p"})",
       "/spec/linux/namespaces/0/path: must be an absolute path"},
      {R"("maskedPaths")", R"("intelRdt": {"closID": "a"}, "maskedPaths")",
       "/spec/linux/intelRdt: is not supported: caches and memory bandwidth are not divided (resctrl)"},
      {R"("maskedPaths")", R"("mountLabel": 1, "maskedPaths")", "/spec/linux/mountLabel: must be a string"},
  };
  for (const Wrong& wrong : table) {
    const std::string input = with(planInput(), wrong.from, wrong.to);
    EXPECT_TEXT(compileError(input), wrong.error);
  }
}

TEST(jsonIsBounded) {
  EXPECT_TEXT(compileError("{"), ": Missing a name for object member.");
  EXPECT_TEXT(compileError(std::string(100, '[')), ": too deep or too large");
  EXPECT_TEXT(compileError(std::string(5 << 20, ' ')), ": longer than 4 MiB");
  std::string many = "[0";
  for (int index = 0; index < 250'000; ++index) many += ",0";
  EXPECT_TEXT(compileError(many + "]"), ": too deep or too large");
  EXPECT_TEXT(compileError("[]"), ": must be an object");
  EXPECT_TEXT(compileError("{\"spec\": \"\xff\"}"), ": Invalid encoding in string.");
}

// CVE-2021-43784: a count of mappings that is cut to 16 bits, so that the rest is read as something else.
TEST(idMappingsAreCountedAndNotCut) {
  const auto withRanges = [](size_t count) {
    std::string ranges;
    for (size_t index = 0; index < count; ++index) {
      const std::string inside = std::to_string(index);
      ranges += (index == 0 ? "" : ",") + (R"({"containerID":)" + inside) + R"(,"hostID":1)" + inside + R"(,"size":1})";
    }
    const std::string_view first = R"("uidMappings": [{"containerID": 0, "hostID": 268435456, "size": 65536}])";
    return compileError(with(planInput(), first, R"("uidMappings":[)" + ranges + "]"));
  };
  EXPECT_TEXT(withRanges(340), "");
  for (const size_t count : {341, 1024}) {
    EXPECT_TEXT(withRanges(count), "/spec/linux/uidMappings: has more than 340 ranges");
  }
  // 65,537 would wrap to one; a document with so many values is not even read.
  EXPECT_TEXT(withRanges(65537), ": too deep or too large");
}

TEST(capabilitiesNeverBecomeInheritableAndStayInTheBoundingSet) {
  plan::Compiled compiled;
  plan::CompileError error;
  std::string input = with(planInput(), R"("permitted": ["CAP_KILL"])",
                           R"("permitted": ["CAP_KILL", "CAP_SYS_ADMIN", "CAP_NOPE"], "inheritable": ["CAP_KILL"])");
  EXPECT(plan::compileContainer(input, nullptr, &compiled, &error));
  Arena arena(plan::kPlanArenaBytes);
  plan::Container container;
  EXPECT(plan::decode(compiled.bytes, &arena, &container));
  EXPECT(container.process.boundingSet == ((1u << 0) | (1u << 5)));
  EXPECT(container.process.permittedSet == (1u << 5));
  EXPECT(compiled.warnings.size() == 3);
}

TEST(aMaskIsAsLongAsItsLastCpuWants) {
  struct Case {
    const char* cpus;
    uint32_t words;
    uint32_t last;
  };
  // 1024 CPUs are what glibc's cpu_set_t holds, 8192 what a kernel can have.
  for (const Case& each : {Case{"\"0,63\"", 1, 63}, Case{"\"0,64\"", 2, 64}, Case{"\"1023-1025\"", 17, 1025},
                           Case{"\"0-3,8191\"", 128, 8191}}) {
    plan::Compiled compiled;
    plan::CompileError error;
    EXPECT(plan::compileContainer(with(planInput(), "\"0-1,3\"", each.cpus), nullptr, &compiled, &error));
    Arena arena(plan::kPlanArenaBytes);
    plan::Container container;
    EXPECT(plan::decode(compiled.bytes, &arena, &container));
    const Span<uint64_t>& mask = container.process.affinity;
    EXPECT(mask.count == each.words);
    EXPECT((mask[each.last / 64] >> (each.last % 64) & 1) == 1);
  }
}

TEST(everyMountWordOfTheSpecificationIsKnown) {
  // config.md, "Linux mount options" of runtime-spec 1.2
  const char* words[] = {
      "async",      "atime",        "bind",         "defaults",    "dev",        "diratime",    "dirsync",
      "exec",       "iversion",     "lazytime",     "loud",        "mand",       "noatime",     "nodev",
      "nodiratime", "noexec",       "noiversion",   "nolazytime",  "nomand",     "norelatime",  "nostrictatime",
      "nosuid",     "nosymfollow",  "private",      "ratime",      "rbind",      "rdev",        "rdiratime",
      "relatime",   "rexec",        "rnoatime",     "rnodiratime", "rnoexec",    "rnorelatime", "rnostrictatime",
      "rnosuid",    "rnosymfollow", "ro",           "rprivate",    "rrelatime",  "rro",         "rrw",
      "rshared",    "rslave",       "rstrictatime", "rsuid",       "rsymfollow", "runbindable", "rw",
      "shared",     "silent",       "slave",        "strictatime", "suid",       "symfollow",   "sync",
      "unbindable", "idmap",        "ridmap",       "rnodev"};
  for (const char* word : words) {
    const std::string input = with(planInput(), R"(["rbind", "ro"])", std::string(R"(["rbind", ")") + word + R"("])");
    EXPECT_TEXT(compileError(input), "");
  }
}

TEST(mountWordsBecomeAttributes) {
  plan::Compiled compiled;
  plan::CompileError error;
  const std::string input =
      with(planInput(), R"(["rbind", "ro"])", R"(["rbind", "rro", "noatime", "rslave", "nosuid"])");
  EXPECT(plan::compileContainer(input, nullptr, &compiled, &error));
  Arena arena(plan::kPlanArenaBytes);
  plan::Container container;
  EXPECT(plan::decode(compiled.bytes, &arena, &container));
  const plan::Mount& mount = container.mounts[2];
  EXPECT(mount.attributesSet == (MOUNT_ATTR_NOATIME | MOUNT_ATTR_NOSUID));
  EXPECT(mount.recursiveSet == MOUNT_ATTR_RDONLY);
  EXPECT(mount.attributesClear == MOUNT_ATTR__ATIME);
  EXPECT((mount.flags & (plan::kMountRecursive | plan::kMountConfined | plan::kMountIdMapped)) ==
         (plan::kMountRecursive | plan::kMountConfined | plan::kMountIdMapped));
  EXPECT(mount.propagation == ((1u << 19) | 16384));
}

/** What the second mount of the plan's input, a tmpfs, has for a context; empty for none. */
std::string contextOf(const std::string& input) {
  plan::Compiled compiled;
  plan::CompileError error;
  Arena arena(plan::kPlanArenaBytes);
  plan::Container container;
  EXPECT(plan::compileContainer(input, nullptr, &compiled, &error));
  EXPECT(plan::decode(compiled.bytes, &arena, &container));
  std::string found;
  for (const plan::MountOption& option : container.mounts[1].options) {
    if (option.key.view() == "context") found += option.value.view();
  }
  return found;
}

TEST(newFileSystemsTakeTheMountLabel) {
  const std::string labelled =
      with(planInput(), R"("maskedPaths")", R"("mountLabel": "a:b:c:s0:c1,c2", "maskedPaths")");
  EXPECT_TEXT(contextOf(planInput()), "");
  EXPECT_TEXT(contextOf(labelled), "a:b:c:s0:c1,c2");
  const std::string endless = R"("mountLabel": ")" + std::string(256, 'x') + R"(", "maskedPaths")";
  EXPECT_TEXT(compileError(with(planInput(), R"("maskedPaths")", endless)),
              "/spec/linux/mountLabel: is longer than 255 bytes");
  EXPECT_TEXT(contextOf(with(labelled, R"(["mode=755"])", R"(["context=\"own:b:c\""])")), "own:b:c");
}

}  // namespace
}  // namespace bulkhead
