// What the container sees of the kernel: hostname, sysctls, masked and read-only paths, devices.
#include <linux/sched.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "plan/compile.h"

namespace bulkhead::plan {
namespace {

struct SysctlScope {
  std::string_view name;  // with a trailing slash: everything below
  uint32_t space;
};
// Sysctls that belong to a namespace; all others would change the host.
constexpr SysctlScope kSysctls[] = {
    {"net/", CLONE_NEWNET},
    {"fs/mqueue/", CLONE_NEWIPC},
    {"kernel/msgmax", CLONE_NEWIPC},
    {"kernel/msgmnb", CLONE_NEWIPC},
    {"kernel/msgmni", CLONE_NEWIPC},
    {"kernel/sem", CLONE_NEWIPC},
    {"kernel/shmall", CLONE_NEWIPC},
    {"kernel/shmmax", CLONE_NEWIPC},
    {"kernel/shmmni", CLONE_NEWIPC},
    {"kernel/shm_rmid_forced", CLONE_NEWIPC},
    {"kernel/hostname", CLONE_NEWUTS},
    {"kernel/domainname", CLONE_NEWUTS},
    {"user/", CLONE_NEWUSER},
};

bool compileSysctls(Context* context, const View& object, Container* target) {
  if (!context->object(object)) return false;
  std::vector<Sysctl> list;
  const Members members(object);
  for (uint32_t index = 0; index < members.count(); ++index) {
    const View entry = members.view(index);
    std::string name(members.name(index));
    // "net.ipv4.conf.eth0/1.x" swaps the separators (sysctl.d(5)); a path is what the kernel wants.
    if (name.find('/') == std::string::npos) std::replace(name.begin(), name.end(), '.', '/');
    const auto* scope = std::find_if(std::begin(kSysctls), std::end(kSysctls), [&](const SysctlScope& row) {
      return row.name.back() == '/' ? name.starts_with(row.name) : name == row.name;
    });
    if (scope == std::end(kSysctls) || name.find("..") != std::string::npos || name.size() > 200) {
      return context->fail(entry, "is no sysctl of a namespace");
    }
    if (!hasNamespace(*target, scope->space)) return context->fail(entry, "needs its own namespace");
    Sysctl sysctl;
    sysctl.path = context->keep(name);
    if (!entry.isString()) return context->fail(entry, "must be a string");
    if (!context->text(entry, &sysctl.value)) return false;
    list.push_back(sysctl);
  }
  return context->store(object, list, &target->sysctls);
}

bool compilePaths(Context* context, const View& list, Span<Str>* target) {
  if (!context->array(list)) return false;
  std::vector<Str> paths(list.count());
  for (uint32_t index = 0; index < list.count(); ++index) {
    const View element = list.element(index);
    if (!context->containerPath(element, &paths[index])) return false;
    if (paths[index].empty()) return context->fail(element, "must not be the root itself");
  }
  return context->store(list, paths, target);
}

bool compileDevices(Context* context, const View& list, Container* target) {
  if (!context->array(list)) return false;
  std::vector<Device> devices;
  for (uint32_t index = 0; index < list.count(); ++index) {
    const View entry = list.element(index);
    const View path = entry.member("path");
    const View type = entry.member("type");
    Device device;
    Str place;
    if (!context->containerPath(path, &place)) return false;
    if (!place.view().starts_with("dev/") || place.size < 5) return context->fail(path, "must be below /dev");
    device.path = context->keep(place.view().substr(4));
    const std::string_view letter = type.isString() ? type.text() : "";
    if (letter == "c" || letter == "u") {
      device.mode = 0020000;
    } else if (letter == "b") {
      device.mode = 0060000;
    } else {
      return context->fail(type, "must be c, u or b");
    }
    uint32_t mode = 0666;
    if (!context->unsigned32(entry.member("fileMode"), &mode) ||
        !context->unsigned32(entry.member("major"), &device.major) ||
        !context->unsigned32(entry.member("minor"), &device.minor) ||
        !context->unsigned32(entry.member("uid"), &device.uid) ||
        !context->unsigned32(entry.member("gid"), &device.gid)) {
      return false;
    }
    device.mode |= mode & 07777;
    devices.push_back(device);
  }
  const auto hasDev = [&] {
    return std::any_of(target->mounts.begin(), target->mounts.end(),
                       [](const Mount& mount) { return mount.kind == MountKind::dev; });
  };
  if (!devices.empty() && !hasDev()) return context->fail(list, "needs a tmpfs mount on /dev");
  return context->store(list, devices, &target->devices);
}

/** dev_valid_name of the kernel. */
bool isLinkName(std::string_view name) {
  constexpr size_t kMaxBytes = 15;  // IFNAMSIZ without its NUL
  return !name.empty() && name.size() <= kMaxBytes && name != "." && name != ".." &&
         name.find_first_of("/: \t\n\v\f\r") == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

/** The caller moves them: that is the host's side of the network, which neither init nor a plan knows. */
bool checkNetDevices(Context* context, const View& devices, const Container& target) {
  if (!context->object(devices)) return false;
  if (!devices.present()) return true;
  constexpr uint32_t kMaxDevices = 64;
  const Members members(devices);
  if (members.count() > kMaxDevices) return context->fail(devices, "has more than 64 devices");
  if (members.count() > 0 && !hasNamespace(target, CLONE_NEWNET)) {
    return context->fail(devices, "needs its own network namespace");
  }
  for (uint32_t index = 0; index < members.count(); ++index) {
    const View entry = members.view(index);
    const View name = entry.member("name");
    Str inside;
    if (!isLinkName(members.name(index))) return context->fail(entry, "is no name of a network device");
    if (!context->object(entry) || !context->text(name, &inside)) return false;
    if (name.present() && !isLinkName(inside.view())) return context->fail(name, "is no name of a network device");
  }
  return true;
}

}  // namespace

bool compileKernelView(Context* context, const View& spec, Container* target) {
  const View hostname = spec.member("hostname");
  const View domainname = spec.member("domainname");
  if (!context->text(hostname, &target->hostname) || !context->text(domainname, &target->domainname)) return false;
  for (const View* name : {&hostname, &domainname}) {
    if (!name->present()) continue;
    if (!hasNamespace(*target, CLONE_NEWUTS)) return context->fail(*name, "needs its own uts namespace");
    if (name->text().size() > 64) return context->fail(*name, "is longer than 64 bytes");
  }
  const View linuxPart = spec.member("linux");
  // Refused on every host alike: it could not be proven on one of ours, and a limit that is not in force lies.
  const View cache = linuxPart.member("intelRdt");
  if (cache.present()) {
    return context->fail(cache, "is not supported: caches and memory bandwidth are not divided (resctrl)");
  }
  return checkNetDevices(context, linuxPart.member("netDevices"), *target) &&
         compileSysctls(context, linuxPart.member("sysctl"), target) &&
         compilePaths(context, linuxPart.member("maskedPaths"), &target->maskedPaths) &&
         compilePaths(context, linuxPart.member("readonlyPaths"), &target->readOnlyPaths) &&
         compileDevices(context, linuxPart.member("devices"), target);
}

}  // namespace bulkhead::plan
