// `linux.namespaces`, the id mappings, and what the specification says about
// the kernel's view inside.
#include <linux/sched.h>
#include <sys/mount.h>

#include <algorithm>
#include <iterator>

#include "plan/compile.h"
#include "plan/names.h"

namespace bulkhead::plan {
namespace {

// user_namespaces(7): at most 340 lines.
constexpr uint32_t kMaxMappings = 340;

}  // namespace

bool compileMappings(Context* context, const View& mappings, Span<IdMap>* target) {
  if (!context->array(mappings)) return false;
  if (mappings.count() > kMaxMappings) return context->fail(mappings, "has more than 340 ranges");
  std::vector<IdMap> list(mappings.count());
  for (uint32_t index = 0; index < mappings.count(); ++index) {
    const View entry = mappings.element(index);
    IdMap& map = list[index];
    if (!context->unsigned32(entry.member("containerID"), &map.inside) ||
        !context->unsigned32(entry.member("hostID"), &map.outside) ||
        !context->unsigned32(entry.member("size"), &map.count)) {
      return false;
    }
    if (map.count == 0) return context->fail(entry, "maps nothing");
    if (map.count > UINT32_MAX - map.inside || map.count > UINT32_MAX - map.outside) {
      return context->fail(entry, "goes beyond the largest id");
    }
  }
  return context->store(mappings, list, target);
}

namespace {

bool mapsRoot(const Span<IdMap>& maps) {
  return std::any_of(maps.begin(), maps.end(), [](const IdMap& map) { return map.inside == 0; });
}

}  // namespace

bool compileNamespaces(Context* context, const View& linuxPart, Container* target) {
  const View list = linuxPart.member("namespaces");
  if (!context->array(list)) return false;
  uint32_t seen = 0;
  std::vector<NamespaceJoin> joins;
  for (uint32_t index = 0; index < list.count(); ++index) {
    const View entry = list.element(index);
    const View type = entry.member("type");
    const uint32_t flag = type.isString() ? namespaceFlag(type.text()) : 0;
    if (flag == 0) return context->fail(type, "is no namespace type");
    if ((seen & flag) != 0) return context->fail(type, "is given twice");
    seen |= flag;
    const View path = entry.member("path");
    if (!path.present()) {
      target->namespaces |= flag;
      continue;
    }
    // The root is built in a mount namespace of its own all the same: the other one's members see nothing of that.
    if (flag == CLONE_NEWNS) target->namespaces |= flag;
    NamespaceJoin join;
    join.type = flag;
    if (!context->absolutePath(path, &join.path)) return false;
    joins.push_back(join);
  }
  if ((target->namespaces & CLONE_NEWNS) == 0) return context->fail(list, "must have a mount namespace");
  if ((target->flags & kPlanAwaitNetwork) != 0 && (target->namespaces & CLONE_NEWNET) == 0) {
    return context->fail(list, "has no network namespace of its own to be connected");
  }
  if (!context->store(list, joins, &target->joins)) return false;

  const View uids = linuxPart.member("uidMappings");
  const View gids = linuxPart.member("gidMappings");
  if (!compileMappings(context, uids, &target->uidMap) || !compileMappings(context, gids, &target->gidMap)) {
    return false;
  }
  // For a joined user namespace they must say what its own are: files are given
  // to its root before it is entered.
  if ((seen & CLONE_NEWUSER) != 0) {
    if (!mapsRoot(target->uidMap)) return context->fail(uids, "must map id 0");
    if (!mapsRoot(target->gidMap)) return context->fail(gids, "must map id 0");
  } else if (!target->uidMap.empty() || !target->gidMap.empty()) {
    return context->fail(uids, "needs a user namespace");
  }
  return true;
}

bool compileBorn(Context* context, const View& names, uint32_t* namespaces) {
  if (!context->array(names)) return false;
  for (uint32_t index = 0; index < names.count(); ++index) {
    const View name = names.element(index);
    const uint32_t flag = name.isString() ? namespaceFlag(name.text()) : 0;
    // Whoever has a time namespace has offsets, which only a plan knows.
    if (flag == 0 || flag == CLONE_NEWTIME) return context->fail(name, "is no namespace type to be born in");
    *namespaces |= flag;
  }
  if ((*namespaces & CLONE_NEWNS) == 0) return context->fail(names, "must have a mount namespace");
  return true;
}

bool hasNamespace(const Container& container, uint32_t flag) {
  const auto joins = [&](const NamespaceJoin& join) { return join.type == flag; };
  return (container.namespaces & flag) != 0 || std::any_of(container.joins.begin(), container.joins.end(), joins);
}

bool compileRoot(Context* context, const View& input, Container* target) {
  const View rootfs = input.member("rootfs");
  const View kind = rootfs.member("kind");
  Root& root = target->root;
  std::vector<Str> layers;
  if (kind.isString() && kind.text() == "overlay") {
    root.kind = RootKind::overlay;
    const View list = rootfs.member("layers");
    if (!context->array(list)) return false;
    // fs/overlayfs: OVL_MAX_STACK
    if (list.count() == 0 || list.count() > 500) return context->fail(list, "must have from 1 to 500 layers");
    for (uint32_t index = 0; index < list.count(); ++index) {
      Str layer;
      if (!context->absolutePath(list.element(index), &layer)) return false;
      layers.push_back(layer);
    }
    if (!context->absolutePath(rootfs.member("upper"), &root.upper) ||
        !context->absolutePath(rootfs.member("work"), &root.work)) {
      return false;
    }
  } else if (kind.isString() && kind.text() == "directory") {
    Str path;
    if (!context->absolutePath(rootfs.member("path"), &path)) return false;
    layers.push_back(path);
  } else {
    return context->fail(kind, "must be overlay or directory");
  }
  if (!context->store(rootfs, layers, &root.layers)) return false;

  const View spec = input.member("spec");
  bool readOnly = false;
  const View rootView = spec.member("root");
  if (!context->boolean(rootView.member("readonly"), &readOnly)) return false;
  root.readOnly = readOnly ? 1 : 0;
  const View linuxPart = spec.member("linux");
  const View propagation = linuxPart.member("rootfsPropagation");
  Str word;
  if (!context->text(propagation, &word)) return false;
  const std::string_view name = word.view();
  if (name.empty() || name == "private" || name == "rprivate") {
    root.propagation = MS_PRIVATE;
  } else if (name == "slave" || name == "rslave") {
    root.propagation = MS_SLAVE;
  } else if (name == "shared" || name == "rshared") {
    root.propagation = MS_SHARED;
  } else if (name == "unbindable" || name == "runbindable") {
    root.propagation = MS_UNBINDABLE;
  } else {
    return context->fail(propagation, "is no propagation");
  }
  const bool tied = root.propagation == MS_SHARED || root.propagation == MS_UNBINDABLE;
  const bool joins = std::any_of(target->joins.begin(), target->joins.end(),
                                 [](const NamespaceJoin& join) { return join.type == CLONE_NEWNS; });
  if (tied && joins) return context->fail(propagation, "needs a mount namespace of its own");
  if (name.starts_with("r")) root.propagation |= MS_REC;
  return true;
}

}  // namespace bulkhead::plan
