#include "plan/compile.h"

#include "plan/codec.h"
#include "sys/arena.h"

namespace bulkhead::plan {
namespace {

bool compileLog(Context* context, const View& log, Container* target) {
  if (!log.present()) return true;
  uint64_t maxBytes = 0;
  uint32_t maxFiles = 1;
  if (!context->absolutePath(log.member("path"), &target->logPath) ||
      !context->unsigned64(log.member("maxBytes"), &maxBytes) ||
      !context->unsigned32(log.member("maxFiles"), &maxFiles)) {
    return false;
  }
  // One line of 16 KiB and its prefix must fit in a file.
  if (maxBytes < 32768) return context->fail(log.member("maxBytes"), "must be at least 32768");
  if (maxFiles < 1 || maxFiles > 100) return context->fail(log.member("maxFiles"), "must be from 1 to 100");
  target->logMaxBytes = maxBytes;
  target->logMaxFiles = maxFiles;
  return true;
}

bool compileLease(Context* context, const View& lease, Container* target) {
  if (!lease.present()) return true;
  int64_t leaseMs = 0;
  if (!context->absolutePath(lease.member("page"), &target->leasePage) ||
      !context->integer(lease.member("leaseMs"), 1, int64_t{1} << 40, &leaseMs)) {
    return false;
  }
  if (leaseMs == 0) return context->fail(lease.member("leaseMs"), "is required");
  target->leaseMs = static_cast<uint64_t>(leaseMs);
  return true;
}

bool compileImageUser(Context* context, const View& user, Process* target) {
  if (!user.present()) return true;
  if (!context->text(user, &target->imageUser)) return false;
  if (target->imageUser.size > 256) return context->fail(user, "is longer than 256 bytes");
  target->flags |= kProcessImageUser;
  return true;
}

/** `unattended` of either input: what only the OCI command line asks for. */
bool compileUnattended(Context* context, const View& unattended, uint32_t* flags, Process* process) {
  if (!unattended.present()) return true;
  if (!context->object(unattended)) return false;
  const View preserved = unattended.member("preservedFds");
  bool announced = false;
  bool intoFrozen = false;
  bool theirRoot = false;
  if (!context->boolean(unattended.member("announced"), &announced) ||
      !context->boolean(unattended.member("intoFrozen"), &intoFrozen) ||
      !context->boolean(unattended.member("theirRoot"), &theirRoot) ||
      !context->unsigned32(preserved, &process->preservedFds)) {
    return false;
  }
  if (process->preservedFds > kMaxPreservedFds) return context->fail(preserved, "is more than 128");
  *flags |= kPlanUnattended | (announced ? kPlanAnnounced : 0u) | (intoFrozen ? kPlanIntoFrozen : 0u) |
            (theirRoot ? kPlanTheirRoot : 0u);
  return true;
}

/** `descriptors`: how many come with the plan for its program. */
bool compileDescriptors(Context* context, const View& count, Process* process) {
  if (!count.present()) return true;
  if (!context->unsigned32(count, &process->preservedFds)) return false;
  return process->preservedFds <= kMaxHandedFds || context->fail(count, "is more than 8");
}

bool compileInput(Context* context, const View& input, seccomp::Cache* cache, Container* target) {
  if (!input.isObject()) return context->fail(input, "must be an object");
  const View spec = input.member("spec");
  if (!spec.isObject()) return context->fail(spec, "must be an object");
  const View linuxPart = spec.member("linux");
  if (!context->object(linuxPart)) return false;
  const View resources = linuxPart.member("resources");
  const View cpu = resources.member("cpu");
  const View process = spec.member("process");
  const View runDirectory = input.member("runDir");
  bool trace = false;
  bool attach = false;
  bool network = false;
  const View testing = input.member("testing");
  if (!context->boolean(testing.member("trace"), &trace) ||
      !context->boolean(testing.member("attachLayers"), &attach) ||
      !context->text(testing.member("faultStep"), &target->faultStep)) {
    return false;
  }
  if (!context->boolean(input.member("awaitNetwork"), &network)) return false;
  target->flags = (trace ? kPlanTrace : 0u) | (attach ? kPlanAttachLayers : 0u) | (network ? kPlanAwaitNetwork : 0u);
  if (!compileNamespaces(context, linuxPart, target) || !compileRoot(context, input, target) ||
      !compileCgroups(context, input.member("cgroup"), resources, &target->cgroups) ||
      !compileMounts(context, spec.member("mounts"), input.member("binds"), linuxPart.member("mountLabel"),
                     &target->mounts) ||
      !compileKernelView(context, spec, target) || !compileProcess(context, process, &target->process) ||
      !compileAffinity(context, cpu.member("cpus"), &target->process.affinity) ||
      !compileSeccomp(context, linuxPart.member("seccomp"), input.member("seccompKey"), cache, &target->process) ||
      !compileImageUser(context, input.member("imageUser"), &target->process) ||
      !compileTimeOffsets(context, linuxPart, target) || !compileExecution(context, linuxPart, &target->process) ||
      !compileIdentity(context, input, &target->process) ||
      !compileWritable(context, input.member("writable"), &target->process) ||
      !context->absolutePath(runDirectory, &target->runDirectory) ||
      !compileLog(context, input.member("log"), target) || !compileLease(context, input.member("lease"), target) ||
      !compileDescriptors(context, input.member("descriptors"), &target->process) ||
      !compileUnattended(context, input.member("unattended"), &target->flags, &target->process)) {
    return false;
  }
  if ((target->flags & kPlanUnattended) == 0) {
    const View devices = linuxPart.member("netDevices");
    if (devices.present()) return context->fail(devices, "is only supported by the command line");
    if ((target->process.flags & kProcessTerminal) == 0) return true;
    return context->fail(process.member("terminal"), "is only supported for exec");
  }
  const View hooks = spec.member("hooks");
  // The caller runs these, some of them much later; what is wrong with them is told now.
  for (const char* moment : {"prestart", "createRuntime", "poststart", "poststop"}) {
    Span<Hook> checked;
    if (!compileHooks(context, hooks, moment, &checked)) return false;
  }
  return compileHooks(context, hooks, "createContainer", &target->createContainerHooks) &&
         compileHooks(context, hooks, "startContainer", &target->startContainerHooks);
}

bool compileInput(Context* context, const View& input, seccomp::Cache* cache, Exec* target) {
  if (!input.isObject()) return context->fail(input, "must be an object");
  const View spec = input.member("spec");
  const View process = spec.member("process");
  const View reference = input.member("target");
  const View stdio = input.member("stdio");
  if (!compileProcess(context, process, &target->process) ||
      !compileCgroups(context, input.member("cgroup"), input.member("resources"), &target->cgroups) ||
      !compileAffinity(context, input.member("cpus"), &target->process.affinity) ||
      !compileSeccomp(context, input.member("seccomp"), input.member("seccompKey"), cache, &target->process) ||
      !compileImageUser(context, input.member("imageUser"), &target->process) ||
      !compileUnattended(context, input.member("unattended"), &target->flags, &target->process)) {
    return false;
  }
  const View affinity = process.member("execCPUAffinity");
  if (!compileIdentity(context, input, &target->process) ||
      !compileWritable(context, input.member("writable"), &target->process) ||
      !compileAffinity(context, affinity.member("initial"), &target->process.firstAffinity) ||
      !compileAffinity(context, affinity.member("final"), &target->process.affinity)) {
    return false;
  }
  if (!reference.isObject()) return context->fail(reference, "must be an object");
  if (!context->unsigned32(reference.member("pid"), &target->targetPid) ||
      !context->unsigned64(reference.member("startTicks"), &target->targetTicks)) {
    return false;
  }
  if (target->targetPid == 0) return context->fail(reference, "must name a process");
  Process& wanted = target->process;
  wanted.flags &= ~static_cast<uint32_t>(kProcessTerminal);
  if (!stdio.isString() || (stdio.text() != "pipes" && stdio.text() != "pty")) {
    return context->fail(stdio, "must be pipes or pty");
  }
  if (stdio.text() == "pty") wanted.flags |= kProcessTerminal;
  const View size = input.member("consoleSize");
  int64_t rows = wanted.rows;
  int64_t columns = wanted.columns;
  if (!context->integer(size.member("rows"), 0, 65535, &rows) ||
      !context->integer(size.member("columns"), 0, 65535, &columns)) {
    return false;
  }
  wanted.rows = static_cast<uint16_t>(rows);
  wanted.columns = static_cast<uint16_t>(columns);
  return true;
}

bool compileInput(Context* context, const View& input, seccomp::Cache*, Birth* target) {
  if (!input.isObject()) return context->fail(input, "must be an object");
  const View testing = input.member("testing");
  bool trace = false;
  bool ahead = false;
  if (!context->boolean(testing.member("trace"), &trace) || !context->boolean(input.member("ahead"), &ahead) ||
      !context->text(testing.member("faultStep"), &target->faultStep)) {
    return false;
  }
  target->flags = (trace ? kPlanTrace : 0u) | (ahead ? kPlanAhead : 0u);
  return compileBorn(context, input.member("namespaces"), &target->namespaces) &&
         compileCgroups(context, input.member("cgroup"), input.member("resources"), &target->cgroups);
}

template <class Plan>
bool compileView(const View& input, seccomp::Cache* cache, Compiled* result, CompileError* error) {
  Arena arena(kPlanArenaBytes);
  Context context(&arena);
  Plan plan;
  if (!compileInput(&context, input, cache, &plan)) {
    *error = context.error();
    return false;
  }
  result->bytes = encode(plan);
  result->warnings = context.takeWarnings();
  if (arena.exhausted() || result->bytes.size() > kMaxPlanBytes) {
    *error = {"", "is larger than a plan may be (1 MiB)"};
    return false;
  }
  return true;
}

template <class Plan>
bool compileText(std::string_view json, seccomp::Cache* cache, Compiled* result, CompileError* error) {
  rapidjson::Document document;
  std::string reason;
  if (!parseBounded(json, &document, &reason)) {
    *error = {"", reason};
    return false;
  }
  return compileView<Plan>(View(document), cache, result, error);
}

}  // namespace

bool compileContainer(std::string_view json, seccomp::Cache* cache, Compiled* result, CompileError* error) {
  return compileText<Container>(json, cache, result, error);
}

bool compileContainer(const View& input, seccomp::Cache* cache, Compiled* result, CompileError* error) {
  return compileView<Container>(input, cache, result, error);
}

bool compileExec(std::string_view json, seccomp::Cache* cache, Compiled* result, CompileError* error) {
  return compileText<Exec>(json, cache, result, error);
}

bool compileExec(const View& input, seccomp::Cache* cache, Compiled* result, CompileError* error) {
  return compileView<Exec>(input, cache, result, error);
}

bool compileBirth(std::string_view json, seccomp::Cache* cache, Compiled* result, CompileError* error) {
  return compileText<Birth>(json, cache, result, error);
}

}  // namespace bulkhead::plan
