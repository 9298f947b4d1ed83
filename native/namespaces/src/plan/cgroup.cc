// CgroupPlacement and `linux.resources`: directories and the writes that belong
// to each.
#include <algorithm>

#include "plan/cgroup_writes.h"
#include "plan/compile.h"
#include "sys/file.h"

namespace bulkhead::plan {
namespace {

struct Placed {
  std::string path;
  std::string controllers;
  std::vector<CgroupWrite> writes;
  uint32_t flags = 0;
};

bool collect(Context* context, const View& paths, std::vector<Placed>* placed) {
  if (!paths.isObject()) return context->fail(paths, "must be an object");
  const Members members(paths);
  for (uint32_t index = 0; index < members.count(); ++index) {
    const View entry = members.view(index);
    const std::string name(members.name(index));
    Str path;
    if (!context->absolutePath(entry, &path)) return false;
    const std::string_view text = path.view();
    if (text.find("/../") != std::string_view::npos || text.ends_with("/..")) {
      return context->fail(entry, "must not contain '..'");
    }
    // Hierarchies that carry several controllers ("cpu,cpuacct") appear once
    // per controller with the same path.
    auto same = std::find_if(placed->begin(), placed->end(), [&](const Placed& one) { return one.path == text; });
    if (same == placed->end()) {
      placed->push_back({std::string(text), name, {}, 0});
      same = placed->end() - 1;
    } else {
      same->controllers += "," + name;
    }
    if (name == "unified") same->flags |= kCgroupUnified | (members.count() == 1 ? kCgroupMemory : 0u);
    if (name == "cpuset") same->flags |= kCgroupCpuset;
    if (name == "memory") same->flags |= kCgroupMemory;
  }
  return true;
}

}  // namespace

bool compileCgroups(Context* context, const View& placement, const View& resources, Span<CgroupDirectory>* target) {
  if (!context->object(resources)) return false;
  std::vector<Placed> placed;
  const View paths = placement.member("paths");
  if (!collect(context, paths, &placed)) return false;
  const bool unifiedOnly = placed.size() == 1 && (placed[0].flags & kCgroupUnified) != 0;

  CgroupWrites writes(context, unifiedOnly);
  if (!writes.compile(resources)) return false;
  for (const CgroupWrites::Entry& entry : writes.entries()) {
    auto owner = std::find_if(placed.begin(), placed.end(), [&](const Placed& one) {
      if (unifiedOnly) return true;
      const std::string list = "," + one.controllers + ",";
      return list.find("," + std::string(entry.controller) + ",") != std::string::npos;
    });
    if (owner == placed.end()) {
      return context->fail(paths, "lacks the " + std::string(entry.controller) + " controller that a limit needs");
    }
    owner->writes.push_back({context->keep(entry.file), context->keep(entry.value)});
  }

  std::vector<CgroupDirectory> directories(placed.size());
  for (size_t index = 0; index < placed.size(); ++index) {
    CgroupDirectory& directory = directories[index];
    directory.path = context->keep(placed[index].path);
    directory.controllers = context->keep(placed[index].controllers);
    directory.flags = placed[index].flags;
    if (unifiedOnly && writes.checksBeforeUpdate()) directory.flags |= kCgroupCheck;
    if (!context->store(paths, placed[index].writes, &directory.writes)) return false;
    if (unifiedOnly && !context->store(paths, writes.deviceProgram(), &directory.deviceProgram)) return false;
  }
  return context->store(paths, directories, target);
}

bool compileAffinity(Context* context, const View& cpus, Span<uint64_t>* target) {
  Str text;
  if (!context->text(cpus, &text)) return false;
  if (text.empty()) return true;
  // CONFIG_NR_CPUS is at most 8192
  constexpr uint64_t kMaxCpu = 8191;
  std::vector<uint64_t> words;
  std::string_view rest = text.view();
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string_view range = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    const size_t dash = range.find('-');
    uint64_t first = 0;
    uint64_t last = 0;
    if (!sys::parseUnsigned(range.substr(0, dash), kMaxCpu, &first)) return context->fail(cpus, "is no CPU list");
    last = first;
    if (dash != std::string_view::npos && !sys::parseUnsigned(range.substr(dash + 1), kMaxCpu, &last)) {
      return context->fail(cpus, "is no CPU list");
    }
    if (last < first) return context->fail(cpus, "has a range that ends before it starts");
    for (uint64_t cpu = first; cpu <= last; ++cpu) {
      if (words.size() <= cpu / 64) words.resize(cpu / 64 + 1);
      words[cpu / 64] |= uint64_t{1} << (cpu % 64);
    }
  }
  return context->store(cpus, words, target);
}

}  // namespace bulkhead::plan
