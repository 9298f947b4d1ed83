// The `mounts` array: which kind each is, and where it may lie.
#include <algorithm>
#include <iterator>

#include "plan/compile.h"

namespace bulkhead::plan {
namespace {

struct KindName {
  std::string_view type;
  MountKind kind;
};
constexpr KindName kKinds[] = {
    {"proc", MountKind::proc},      {"sysfs", MountKind::sysfs}, {"devpts", MountKind::devpts},
    {"mqueue", MountKind::mqueue},  {"tmpfs", MountKind::tmpfs}, {"cgroup", MountKind::cgroup},
    {"cgroup2", MountKind::cgroup},
};

// Files of /proc that a bind may cover: they carry figures, not control
// (compare runc's allow-list).
constexpr std::string_view kProcCoverable[] = {
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/meminfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "proc/loadavg",
    "proc/slabinfo",
    "proc/sys/kernel/ns_last_pid",
    "proc/sys/crypto/fips_enabled",
};

/** fsconfig(2) takes values of 256 bytes, with the end of the string. */
constexpr size_t kMaxLabelBytes = 255;

bool checkPlace(Context* context, const View& at, Mount* target) {
  Mount& mount = *target;
  const std::string_view place = mount.destination.view();
  if (place.empty()) return context->fail(at, "must not be the root itself");
  if (mount.kind == MountKind::proc) {
    return place == "proc" ? true : context->fail(at, "proc may only be mounted on /proc");
  }
  if (mount.kind == MountKind::sysfs) {
    return place == "sys" ? true : context->fail(at, "sysfs may only be mounted on /sys");
  }
  if (mount.kind == MountKind::remount) return true;
  // Containers that share the host's view get it by bind; what is bound must be
  // what its place says.
  if (mount.kind == MountKind::bind && (place == "proc" || place == "sys")) {
    mount.flags |= place == "proc" ? kMountIsProc : kMountIsSysfs;
    return true;
  }
  if (place == "proc") return context->fail(at, "only proc may be mounted on /proc");
  if (place == "sys") return context->fail(at, "only sysfs may be mounted on /sys");
  if (!place.starts_with("proc/")) return true;
  if (mount.kind == MountKind::bind &&
      std::find(std::begin(kProcCoverable), std::end(kProcCoverable), place) != std::end(kProcCoverable)) {
    return true;
  }
  return context->fail(at, "must not cover a part of /proc");
}

/**
 * File systems that are new and hold files of the container's take the label; a context of their own stays. Message
 * queues are the ipc namespace's, whose file system is there before it is mounted.
 */
bool labelMount(Context* context, const View& at, const Str& label, Mount* mount) {
  const bool takes =
      mount->kind == MountKind::tmpfs || mount->kind == MountKind::dev || mount->kind == MountKind::devpts;
  if (label.empty() || !takes) return true;
  std::vector<MountOption> options(mount->options.begin(), mount->options.end());
  for (const MountOption& option : options) {
    if (option.key.view() == "context") return true;
  }
  options.push_back({context->keep("context"), label});
  return context->store(at, options, &mount->options);
}

bool compileConfinement(Context* context, const View& binds, const View& mountView, uint32_t index, Mount* mount) {
  const std::string key = std::to_string(index);
  const View bind = binds.member(key.c_str());
  if (!bind.present()) return true;
  if (mount->kind != MountKind::bind) return context->fail(bind, "does not name a bind mount");
  Str beneath;
  if (!context->absolutePath(bind.member("beneath"), &beneath)) return false;
  bool idMapped = false;
  if (!context->boolean(bind.member("idmap"), &idMapped)) return false;
  std::string root(beneath.view());
  while (root.size() > 1 && root.back() == '/') root.pop_back();
  const std::string_view source = mount->source.view();
  const std::string prefix = root == "/" ? root : root + "/";
  std::string relative;
  if (source == root) {
    relative = ".";
  } else if (source.starts_with(prefix)) {
    relative = source.substr(prefix.size());
  } else {
    return context->fail(mountView.member("source"), "is not below its allowed root");
  }
  mount->source = context->keep(relative.empty() ? "." : relative);
  mount->beneath = context->keep(root);
  mount->flags |= kMountConfined | (idMapped ? kMountIdMapped | kMountRecursiveIds : 0u);
  return true;
}

bool compileMount(Context* context, const View& entry, const View& binds, uint32_t index, Mount* mount) {
  if (!entry.isObject()) return context->fail(entry, "must be an object");
  const View destination = entry.member("destination");
  if (!context->containerPath(destination, &mount->destination)) return false;
  if (!compileMountOptions(context, entry.member("options"), mount)) return false;

  const View type = entry.member("type");
  Str name;
  if (!context->text(type, &name)) return false;
  const View options = entry.member("options");
  bool bind = name.view() == "bind" || name.view() == "none";
  for (uint32_t at = 0; at < options.count(); ++at) {
    const std::string_view option = options.element(at).text();
    bind = bind || option == "bind" || option == "rbind";
  }
  const View uids = entry.member("uidMappings");
  const View gids = entry.member("gidMappings");
  if (!compileMappings(context, uids, &mount->uidMap) || !compileMappings(context, gids, &mount->gidMap)) return false;
  if (mount->uidMap.empty() != mount->gidMap.empty()) return context->fail(entry, "needs both or neither id mappings");
  if (!mount->uidMap.empty()) mount->flags |= kMountIdMapped;
  if ((mount->flags & kMountIdMapped) != 0 && !bind) return context->fail(options, "can only id-map a bind mount");
  if (mount->kind == MountKind::remount) {
    if (!bind) return context->fail(options, "can only remount a bind");
  } else if (bind) {
    mount->kind = MountKind::bind;
    for (const MountOption& option : mount->options) {
      if (isFilesystemFlag(option.key.view())) continue;
      return context->fail(options, "has an option that no bind mount takes");
    }
    mount->options = {};
    if (!context->absolutePath(entry.member("source"), &mount->source)) return false;
  } else {
    const auto* known = std::find_if(std::begin(kKinds), std::end(kKinds),
                                     [&](const KindName& kind) { return kind.type == name.view(); });
    if (known == std::end(kKinds)) return context->fail(type, "is not a supported file system");
    mount->kind = known->kind;
    // /dev is made on the host's side: only there may device nodes be created.
    if (mount->kind == MountKind::tmpfs && mount->destination.view() == "dev") mount->kind = MountKind::dev;
  }
  if ((mount->flags & kMountCopyUp) != 0 && mount->kind != MountKind::tmpfs) {
    return context->fail(options, "tmpcopyup is for tmpfs");
  }
  return checkPlace(context, destination, mount) && compileConfinement(context, binds, entry, index, mount);
}

}  // namespace

bool compileMounts(Context* context, const View& mounts, const View& binds, const View& label, Span<Mount>* target) {
  Str mountLabel;
  if (!context->array(mounts) || !context->object(binds) || !context->text(label, &mountLabel)) return false;
  if (mountLabel.size > kMaxLabelBytes) return context->fail(label, "is longer than 255 bytes");
  if (mounts.count() > 1000) return context->fail(mounts, "has more than 1000 mounts");
  std::vector<Mount> list(mounts.count());
  for (uint32_t index = 0; index < mounts.count(); ++index) {
    const View entry = mounts.element(index);
    if (!compileMount(context, entry, binds, index, &list[index])) return false;
    if (!labelMount(context, entry, mountLabel, &list[index])) return false;
  }
  const Members named(binds);
  for (uint32_t index = 0; index < named.count(); ++index) {
    const std::string name(named.name(index));
    if (!mounts.present() || name.empty() || name.find_first_not_of("0123456789") != std::string::npos ||
        name.size() > 4 || std::stoul(name) >= mounts.count()) {
      return context->fail(named.view(index), "does not name a mount");
    }
  }
  return context->store(mounts, list, target);
}

}  // namespace bulkhead::plan
