#include "scene.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "plan_input.h"
#include "sys/file.h"

namespace bulkhead::test {
namespace {

/** Our own cgroup of a controller ("" is the unified one), from /proc/self/cgroup. */
std::string ownCgroup(std::string_view controller) {
  char text[8192];
  Result<size_t> size = sys::readFile(AT_FDCWD, "/proc/self/cgroup", text, sizeof text);
  if (!size.ok()) return "/";
  const std::string mark = controller.empty() ? "::" : ":" + std::string(controller) + ":";
  const char* at = strstr(text, mark.c_str());
  if (at == nullptr) return "/";
  at += mark.size();
  const std::string path(at, strcspn(at, "\n"));
  return path == "/" ? "" : path;
}

constexpr const char* kProcess =
    R"("env":["PATH=/bin"],"cwd":"/","noNewPrivileges":true,
       "capabilities":{"bounding":["CAP_CHOWN","CAP_KILL","CAP_SETUID"],"permitted":["CAP_CHOWN","CAP_KILL","CAP_SETUID"]}})";

}  // namespace

Scene::Scene(SceneOptions options) : options_(std::move(options)) {
  const std::string root = "/sys/fs/cgroup";
  if (access((root + "/cgroup.controllers").c_str(), F_OK) == 0) {
    cgroups_.entries.push_back({"unified", root + ownCgroup("") + "/" + options_.cgroupName});
    return;
  }
  for (const char* controller : {"cpu", "cpuacct", "cpuset", "memory", "pids", "freezer", "unified"}) {
    std::string directory = root + "/" + controller;
    if (access(directory.c_str(), F_OK) != 0) continue;
    if (strcmp(controller, "memory") == 0) directory += ownCgroup("memory");
    cgroups_.entries.push_back({controller, directory + "/" + options_.cgroupName});
  }
}

std::string Scene::placement() const {
  std::string paths;
  for (const auto& [controller, directory] : cgroups_.entries) {
    paths += (paths.empty() ? "\"" : ",\"") + controller + "\":\"" + directory + "\"";
  }
  return R"({"paths":{)" + paths + "}}";
}

std::string Scene::birthInput() const {
  return R"({"namespaces":["mount","pid","network","ipc","uts","user","cgroup"],"ahead":true,"cgroup":)" + placement() +
         "}";
}

std::string Scene::containerInput(const std::string& arguments, bool trace) const {
  const std::string maps = R"([{"containerID":0,"hostID":268435456,"size":65536}])";
  return R"({"spec":{"process":{"args":)" + arguments + "," + kProcess + R"(,
    "hostname":"bench","mounts":[
      {"destination":"/proc","type":"proc","options":["nosuid","noexec","nodev"]},
      {"destination":"/dev","type":"tmpfs","options":["nosuid","mode=755","size=65536k"]},
      {"destination":"/dev/pts","type":"devpts","options":["nosuid","noexec","ptmxmode=0666","mode=0620","gid=5"]},
      {"destination":"/dev/shm","type":"tmpfs","options":["nosuid","noexec","nodev","mode=1777","size=65536k"]},
      {"destination":"/dev/mqueue","type":"mqueue","options":["nosuid","noexec","nodev"]},
      {"destination":"/sys","type":"sysfs","options":["nosuid","noexec","nodev","ro"]}],
    "linux":{"namespaces":[{"type":"mount"},{"type":"pid"},{"type":"network"},{"type":"ipc"},{"type":"uts"},
        {"type":"user"},{"type":"cgroup"}],"uidMappings":)" +
         maps + R"(,"gidMappings":)" + maps + R"(,
      "resources":{"cpu":{"shares":512,"quota":100000,"period":100000},"memory":{"limit":268435456},"pids":{"limit":100}},
      "seccomp":)" +
         allowListProfile() + R"(,
      "maskedPaths":["/proc/acpi","/proc/kcore","/proc/keys","/proc/latency_stats","/proc/timer_list",
        "/proc/sched_debug","/proc/scsi","/sys/firmware"],
      "readonlyPaths":["/proc/bus","/proc/fs","/proc/irq","/proc/sys","/proc/sysrq-trigger"]}},
    "rootfs":{"kind":"overlay","layers":[")" +
         options_.layer + R"("],"upper":")" + options_.area + R"(/upper","work":")" + options_.area +
         R"(/work"},"cgroup":)" + placement() + R"(,"runDir":")" + options_.runDirectory + R"(","log":{"path":")" +
         options_.area + R"(/log","maxBytes":1048576,"maxFiles":2},"lease":null,"testing":{"trace":)" +
         (trace ? "true" : "false") + "}}";
}

std::string Scene::execInput(const std::string& arguments, int pid, unsigned long long startTicks) const {
  return R"({"spec":{"process":{"args":)" + arguments + "," + kProcess + R"(},"target":{"pid":)" + std::to_string(pid) +
         R"(,"startTicks":)" + std::to_string(startTicks) + R"(},"cgroup":)" + placement() + R"(,"seccomp":)" +
         allowListProfile() + R"(,"stdio":"pipes"})";
}

bool Scene::cgroupsExist() const {
  for (const auto& [controller, directory] : cgroups_.entries) {
    if (access(directory.c_str(), F_OK) == 0) return true;
  }
  return false;
}

bool Scene::endCgroups() const {
  (void)cgroup::killAll(cgroups_).ok();
  Result<Fd> events = cgroup::openEvents(cgroups_);
  for (int round = 0; round < 500; ++round) {
    Result<bool> removed = cgroup::removeOnce(cgroups_);
    if (removed.ok() && removed.value()) return true;
    // v1 does not announce that its last process is gone, so this also looks again after 10 ms.
    struct pollfd slot = {events.ok() ? events.value().get() : -1, POLLPRI, 0};
    poll(&slot, 1, 10);
  }
  return false;
}

void Scene::removeRecords() const {
  for (const char* name : {"/status", "/exit", "/.exit.new", "/.status.new"}) {
    unlink((options_.runDirectory + name).c_str());
  }
}

}  // namespace bulkhead::test
