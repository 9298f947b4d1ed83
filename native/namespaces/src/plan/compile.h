// OCI runtime-spec JSON (plus where things are on this host) to a plan. Pure: reads no file, makes no system call.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "plan/context.h"
#include "plan/plan.h"
#include "seccomp/compile.h"

namespace bulkhead::plan {

struct Compiled {
  std::string bytes;
  std::vector<std::string> warnings;
};

/** `json` is PlanInput of src/index.ts. False: `error` says where and why. `cache` may be null. */
bool compileContainer(std::string_view json, seccomp::Cache* cache, Compiled* result, CompileError* error);
bool compileContainer(const View& input, seccomp::Cache* cache, Compiled* result, CompileError* error);
/** `json` is ExecInput of src/index.ts. */
bool compileExec(std::string_view json, seccomp::Cache* cache, Compiled* result, CompileError* error);
bool compileExec(const View& input, seccomp::Cache* cache, Compiled* result, CompileError* error);

/** `json` is BirthInput of src/index.ts. */
bool compileBirth(std::string_view json, seccomp::Cache* cache, Compiled* result, CompileError* error);

// The parts, one file each.
bool compileProcess(Context* context, const View& process, Process* target);
/** `key`: the name of a profile's content, instead of the profile once the cache has it; may be absent. */
bool compileSeccomp(Context* context, const View& profile, const View& key, seccomp::Cache* cache, Process* target);
/** process.scheduler, ioPriority and execCPUAffinity. */
bool compileScheduling(Context* context, const View& process, Process* target);
/** linux.personality and memoryPolicy. */
bool compileExecution(Context* context, const View& linuxPart, Process* target);
bool compileTimeOffsets(Context* context, const View& linuxPart, Container* target);
/** `writable` of the input: the only places that the process may change. */
bool compileWritable(Context* context, const View& writable, Process* target);
/** `state` and `keyring` of the input: who the container is to listeners, and in its keyring's name. */
bool compileIdentity(Context* context, const View& input, Process* target);
/** `label`: linux.mountLabel, the SELinux context of the file systems that are made for the container. */
bool compileMounts(Context* context, const View& mounts, const View& binds, const View& label, Span<Mount>* target);
/** "sync" and the like, which a bind does not decide. */
bool isFilesystemFlag(std::string_view word);
bool compileMappings(Context* context, const View& mappings, Span<IdMap>* target);
bool compileMountOptions(Context* context, const View& options, Mount* mount);
bool compileNamespaces(Context* context, const View& linuxPart, Container* target);
/** A birth's namespaces, by name and all of its own. */
bool compileBorn(Context* context, const View& names, uint32_t* namespaces);
/** The container does not share the host's namespace of this type: it makes one or joins one by path. */
bool hasNamespace(const Container& container, uint32_t flag);
bool compileRoot(Context* context, const View& input, Container* target);
/** The hooks of one moment ("prestart", "createRuntime", ...) from the specification's `hooks`. */
bool compileHooks(Context* context, const View& hooks, const char* moment, Span<Hook>* target);
bool compileKernelView(Context* context, const View& spec, Container* target);

/** Directories and writes for `placement` (CgroupPlacement) from `resources` (OciResources, may be absent). */
bool compileCgroups(Context* context, const View& placement, const View& resources, Span<CgroupDirectory>* target);
bool compileAffinity(Context* context, const View& cpus, Span<uint64_t>* target);

}  // namespace bulkhead::plan
