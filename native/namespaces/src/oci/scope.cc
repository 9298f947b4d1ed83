#include "oci/scope.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "cgroup/directory.h"
#include "cgroup/host.h"
#include "plan/context.h"
#include "sys/file.h"
#include "sys/syscalls.h"
#include "systemd/bus.h"
#include "systemd/properties.h"

namespace bulkhead::oci {
namespace {

constexpr int kTimeoutMs = 30'000;
constexpr size_t kArenaBytes = 1 << 20;
constexpr const char* kContainerGroup = "container";
constexpr const char* kHolderGroup = "setup";
constexpr std::string_view kAnnotation = "org.systemd.property.";
// What systemd says of a unit that has ended, and whose name means nothing any more.
constexpr std::string_view kNoSuchUnit = "org.freedesktop.systemd1.NoSuchUnit";
// systemd's own bound (UNIT_NAME_MAX), and what a name may be made of.
constexpr size_t kMaxUnitBytes = 255;
constexpr std::string_view kUnitBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:-_.\\@";

bool validUnit(std::string_view name) {
  return !name.empty() && name.size() <= kMaxUnitBytes && name[0] != '.' &&
         name.find_first_not_of(kUnitBytes) == std::string_view::npos;
}

bool failed(Session* session, const systemd::BusError& error) {
  return session->fail("systemd: " + error.text);
}

/** Calls what answers with a job, and waits for the job's end. */
bool runJob(systemd::Bus* bus, std::string_view member, std::string_view signature, const systemd::Values& arguments,
            systemd::BusError* error) {
  std::string answer;
  if (!bus->callManager(member, signature, arguments, &answer, error)) return false;
  std::string_view job;
  systemd::Reader body(answer);
  if (body.text(&job)) return bus->awaitJob(job, error);
  error->text = "an answer without a job";
  return false;
}

bool putLimits(Session* session, const plan::View& resources, systemd::Properties* properties) {
  Arena arena(kArenaBytes);
  plan::Context context(&arena);
  if (systemd::putResources(&context, resources, properties)) return true;
  return session->fail("resources: " + context.error().pointer + " " + context.error().message);
}

bool putAnnotations(Session* session, const plan::View& annotations, systemd::Properties* properties) {
  if (!annotations.isObject()) return true;
  const plan::Members members(annotations);
  for (uint32_t index = 0; index < members.count(); ++index) {
    const std::string_view name = members.name(index);
    const plan::View value = members.view(index);
    if (!name.starts_with(kAnnotation)) continue;
    if (value.isString() && systemd::putAnnotation(name.substr(kAnnotation.size()), value.text(), properties)) continue;
    return session->fail("annotation " + std::string(name) + " is no property of a unit");
  }
  return true;
}

}  // namespace

std::string slicePath(std::string_view slice) {
  if (slice == "-.slice") return "/";
  if (!slice.ends_with(".slice") || !validUnit(slice)) return {};
  const std::string_view name = slice.substr(0, slice.size() - 6);
  std::string path;
  for (size_t dash = name.find('-');; dash = name.find('-', dash + 1)) {
    // "a--b", "-a" and "a-" have a step without a name.
    if (dash == 0 || dash + 1 == name.size() || (dash != std::string_view::npos && name[dash + 1] == '-')) return {};
    path += "/" + std::string(name.substr(0, dash)) + ".slice";
    if (dash == std::string_view::npos) return path;
  }
}

bool Scope::place(Session* session, const std::string& cgroupsPath, const std::string& id, cgroup::Paths* paths) {
  cgroup::HostFeatures host;
  cgroup::findMounts(&host);
  if (access("/run/systemd/system", F_OK) != 0) {
    return session->fail("--systemd-cgroup: this host is not run by systemd; use cgroupfs");
  }
  if (host.cgroupMode != "v2") return session->fail("--systemd-cgroup needs a host with cgroup v2 alone");
  const std::string wanted = cgroupsPath.empty() ? "system.slice:bulkhead:" + id : cgroupsPath;
  const size_t first = wanted.find(':');
  const size_t second = first == std::string::npos ? first : wanted.find(':', first + 1);
  if (second == std::string::npos || wanted.find(':', second + 1) != std::string::npos) {
    return session->fail("linux.cgroupsPath must be slice:prefix:name with --systemd-cgroup");
  }
  slice_ = first == 0 ? "system.slice" : wanted.substr(0, first);
  const std::string prefix = wanted.substr(first + 1, second - first - 1);
  const std::string name = wanted.substr(second + 1);
  unit_ = (prefix.empty() ? "" : prefix + "-") + name + ".scope";
  const std::string parent = slicePath(slice_);
  if (parent.empty()) return session->fail("linux.cgroupsPath names \"" + slice_ + "\", which is no slice");
  if (name.empty() || !validUnit(unit_)) return session->fail("linux.cgroupsPath makes no name of a unit: " + unit_);
  directory_ = host.cgroupMounts.front().second + (parent == "/" ? "" : parent) + "/" + unit_;
  paths->entries.emplace_back("unified", directory_ + "/" + kContainerGroup);
  return true;
}

bool Scope::holdOpen(Session* session) {
  Result<sys::Pair> pipe = sys::pipePair();
  if (!pipe.ok()) return session->fail("systemd scope", pipe.error());
  Result<sys::Cloned> holder = sys::cloneProcess(0, -1);
  if (!holder.ok()) return session->fail("systemd scope", holder.error());
  if (holder.value().pid == 0) {
    pipe.value().right.reset();
    // Of whatever else the runtime has open nothing may be kept from its end here.
    const int kept = pipe.value().left.get();
    (void)sys::closeAllBut(&kept, 1).ok();
    char byte;
    while (read(kept, &byte, 1) < 0 && errno == EINTR) continue;
    _exit(0);
  }
  holder_ = std::move(pipe.value().right);
  holderProcess_ = std::move(holder.value().pidfd);
  holderPid_ = holder.value().pid;
  return true;
}

/** The scope's own cgroup may hold no process once its controllers are handed down. */
bool Scope::handDown(Session* session) {
  Result<Fd> scope = sys::openAt(AT_FDCWD, directory_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!scope.ok()) return session->fail("systemd made the scope elsewhere", scope.error());
  Status made = sys::makeDirectoryAt(scope.value().get(), kHolderGroup, 0755);
  if (!made.ok()) return session->fail("systemd scope", made.error());
  const std::string file = std::string(kHolderGroup) + "/cgroup.procs";
  Status moved = sys::writeFile(scope.value().get(), file.c_str(), std::to_string(holderPid_));
  if (!moved.ok()) return session->fail("systemd scope", moved.error());
  cgroup::enableControllers(scope.value().get());
  return true;
}

bool Scope::start(Session* session, const plan::View& spec) {
  systemd::Bus bus;
  systemd::BusError error;
  if (!bus.open(kTimeoutMs, &error)) return failed(session, error);
  if (!holdOpen(session)) return false;
  systemd::Values arguments;
  arguments.text(unit_);
  arguments.text("fail");
  systemd::Properties properties(&arguments);
  properties.text("Description", "container " + unit_);
  properties.text("Slice", slice_);
  properties.flag("Delegate", true);
  properties.flag("DefaultDependencies", false);
  properties.oneOf("PIDs", static_cast<uint32_t>(holderPid_));
  // Its name must be free again as soon as it has ended, however it did.
  const plan::View annotations = spec.member("annotations");
  const std::string collect = std::string(kAnnotation) + "CollectMode";
  if (!annotations.member(collect.c_str()).present()) properties.text("CollectMode", "inactive-or-failed");
  const plan::View linuxPart = spec.member("linux");
  if (!putLimits(session, linuxPart.member("resources"), &properties) ||
      !putAnnotations(session, annotations, &properties)) {
    return false;
  }
  properties.end();
  // No auxiliary units.
  arguments.closeArray(arguments.openArray(8));
  if (!runJob(&bus, "StartTransientUnit", "ssa(sv)a(sa(sv))", arguments, &error)) return failed(session, error);
  return handDown(session);
}

void Scope::settle() {
  if (!holder_.valid()) return;
  holder_.reset();
  (void)sys::reap(holderProcess_.get(), true).ok();
  holderProcess_.reset();
  (void)sys::removeAt(AT_FDCWD, (directory_ + "/" + kHolderGroup).c_str(), AT_REMOVEDIR).ok();
}

bool updateScope(Session* session, const std::string& unit, const plan::View& resources) {
  systemd::Values arguments;
  arguments.text(unit);
  // Until the next boot, as the unit itself.
  arguments.flag(true);
  systemd::Properties properties(&arguments);
  if (!putLimits(session, resources, &properties)) return false;
  properties.end();
  systemd::Bus bus;
  systemd::BusError error;
  std::string answer;
  if (bus.open(kTimeoutMs, &error) && bus.callManager("SetUnitProperties", "sba(sv)", arguments, &answer, &error)) {
    return true;
  }
  return failed(session, error);
}

bool stopScope(Session* session, const std::string& unit) {
  systemd::Values arguments;
  arguments.text(unit);
  arguments.text("replace");
  systemd::Bus bus;
  systemd::BusError error;
  if (!bus.open(kTimeoutMs, &error)) return failed(session, error);
  if (runJob(&bus, "StopUnit", "ss", arguments, &error) || error.name == kNoSuchUnit) return true;
  return failed(session, error);
}

}  // namespace bulkhead::oci
