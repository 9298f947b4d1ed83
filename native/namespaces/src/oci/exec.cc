// exec: a further process in a running container.
#include <fcntl.h>
#include <signal.h>

#include "oci/command.h"
#include "oci/document.h"
#include "oci/foreground.h"
#include "oci/handover.h"
#include "oci/instance.h"
#include "oci/spawn.h"
#include "plan/compile.h"
#include "sys/file.h"

namespace bulkhead::oci {
namespace {

using rapidjson::Document;
using rapidjson::Value;

/** "uid[:gid]" in numbers, which need no look-up, or names that the container's passwd and group resolve. */
bool setUser(Session* session, const std::string& user, Value* process, Document* input) {
  const size_t colon = user.find(':');
  uint64_t uid = 0;
  uint64_t gid = 0;
  const bool numeric = sys::parseUnsigned(user.substr(0, colon), UINT32_MAX - 1, &uid) &&
                       (colon == std::string::npos || sys::parseUnsigned(user.substr(colon + 1), UINT32_MAX - 1, &gid));
  if (!numeric) {
    if (user.empty()) return session->fail("--user needs a user");
    setMember(input, "imageUser", textValue(user, input), input);
    return true;
  }
  Value value(rapidjson::kObjectType);
  value.AddMember("uid", uid, input->GetAllocator());
  value.AddMember("gid", gid, input->GetAllocator());
  setMember(process, "user", std::move(value), input);
  return true;
}

Value* arrayMember(Value* object, const char* name, Document* input) {
  if (!object->HasMember(name) || !(*object)[name].IsArray()) {
    setMember(object, name, Value(rapidjson::kArrayType), input);
  }
  return &(*object)[name];
}

Value* objectMember(Value* object, const char* name, Document* input) {
  if (!object->HasMember(name) || !(*object)[name].IsObject()) {
    setMember(object, name, Value(rapidjson::kObjectType), input);
  }
  return &(*object)[name];
}

/** The container's process with what the options change. */
bool describeProcess(Session* session, const Arguments& arguments, Value* process, Document* input) {
  auto& allocator = input->GetAllocator();
  Value args(rapidjson::kArrayType);
  for (size_t index = 1; index < arguments.operands().size(); ++index) {
    args.PushBack(textValue(arguments.operands()[index], input), allocator);
  }
  if (args.Empty()) return session->fail("exec needs a command or --process");
  setMember(process, "args", std::move(args), input);
  // Its own answer to -t; what the container's first process has says nothing about this one.
  setMember(process, "terminal", Value(arguments.flag("tty")), input);
  process->RemoveMember("consoleSize");
  if (arguments.has("cwd")) setMember(process, "cwd", textValue(arguments.value("cwd"), input), input);
  if (arguments.flag("no-new-privs")) setMember(process, "noNewPrivileges", Value(true), input);
  if (arguments.has("process-label")) {
    setMember(process, "selinuxLabel", textValue(arguments.value("process-label"), input), input);
  }
  if (arguments.has("apparmor")) {
    setMember(process, "apparmorProfile", textValue(arguments.value("apparmor"), input), input);
  }
  Value* environment = arrayMember(process, "env", input);
  for (const std::string& entry : arguments.list("env")) {
    // The first of two entries of one name would win in most programs.
    const std::string name = entry.substr(0, entry.find('=') + 1);
    for (auto at = environment->Begin(); at != environment->End();) {
      const bool same = at->IsString() && !name.empty() && std::string_view(at->GetString()).starts_with(name);
      at = same ? environment->Erase(at) : at + 1;
    }
    environment->PushBack(textValue(entry, input), allocator);
  }
  if (arguments.has("user") && !setUser(session, arguments.value("user"), process, input)) return false;
  for (const std::string& group : arguments.list("additional-gids")) {
    uint64_t gid = 0;
    if (!sys::parseUnsigned(group, UINT32_MAX - 1, &gid)) return session->fail("--additional-gids needs a number");
    arrayMember(objectMember(process, "user", input), "additionalGids", input)->PushBack(gid, allocator);
  }
  for (const std::string& capability : arguments.list("cap")) {
    Value* sets = objectMember(process, "capabilities", input);
    // Inheritable stays empty (CVE-2022-29162).
    for (const char* name : {"bounding", "permitted", "effective"}) {
      arrayMember(sets, name, input)->PushBack(textValue(capability, input), allocator);
    }
  }
  return true;
}

/** Directories of the container, or of a child that --cgroup names: "sub" in all of them, "memory:sub" in one. */
bool placement(Session* session, const Arguments& arguments, const cgroup::Paths& paths, Document* input) {
  cgroup::Paths wanted = paths;
  for (const std::string& given : arguments.list("cgroup")) {
    const size_t colon = given.find(':');
    const std::string list = colon == std::string::npos ? "" : "," + given.substr(0, colon) + ",";
    const std::string below = colon == std::string::npos ? given : given.substr(colon + 1);
    if (("/" + below + "/").find("/../") != std::string::npos) return session->fail("--cgroup must not contain '..'");
    for (auto& [controller, path] : wanted.entries) {
      if (list.empty() || list.find("," + controller + ",") != std::string::npos) path += "/" + below;
    }
  }
  Value directories(rapidjson::kObjectType);
  for (const auto& [controller, path] : wanted.entries) {
    setMember(&directories, controller.c_str(), textValue(path, input), input);
  }
  Value value(rapidjson::kObjectType);
  value.AddMember("paths", directories, input->GetAllocator());
  input->AddMember("cgroup", value, input->GetAllocator());
  return true;
}

/** The container is in a mount namespace that is not its own, and has another root there. */
bool joinsMounts(const plan::View& linuxPart) {
  const plan::View namespaces = linuxPart.member("namespaces");
  for (uint32_t index = 0; index < namespaces.count(); ++index) {
    const plan::View entry = namespaces.element(index);
    const plan::View type = entry.member("type");
    if (type.isString() && type.text() == "mount" && entry.member("path").present()) return true;
  }
  return false;
}

class Execution {
 public:
  Execution(Session* session, const Arguments& arguments)
      : session_(session), arguments_(arguments), instance_(session) {}

  int run();

 private:
  bool compile(std::string* bytes);
  bool describe(Document* config, Document* input);
  bool converse(Init* init);

  Session* session_;
  const Arguments& arguments_;
  Instance instance_;
  sys::ProcessRef process_ = {};
  Fd terminal_;
  int preservedFds_ = 0;
};

bool Execution::describe(Document* config, Document* input) {
  auto& allocator = input->GetAllocator();
  Value process;
  if (arguments_.has("process")) {
    std::string text;
    Document given(&allocator);
    if (!readText(session_, AT_FDCWD, arguments_.value("process").c_str(), &text) ||
        !parseText(session_, "--process", text, &given)) {
      return false;
    }
    if (!given.IsObject()) return session_->fail("--process must be an object");
    process.Swap(given);
    if (arguments_.flag("tty")) setMember(&process, "terminal", Value(true), input);
  } else {
    if (config->HasMember("process")) process.Swap((*config)["process"]);
    if (!process.IsObject()) process.SetObject();
    if (!describeProcess(session_, arguments_, &process, input)) return false;
  }
  const bool terminal = process.HasMember("terminal") && process["terminal"].IsBool() && process["terminal"].GetBool();
  if (terminal && arguments_.flag("detach") && !arguments_.has("console-socket")) {
    return session_->fail("a terminal needs --console-socket when the process is detached");
  }
  if (!terminal && arguments_.has("console-socket")) return session_->fail("--console-socket needs a terminal");
  input->AddMember("stdio", textValue(terminal ? "pty" : "pipes", input), allocator);
  Value spec(rapidjson::kObjectType);
  spec.AddMember("process", process, allocator);
  if (config->HasMember("annotations")) spec.AddMember("annotations", (*config)["annotations"], allocator);
  input->AddMember("spec", spec, allocator);
  return true;
}

bool Execution::compile(std::string* bytes) {
  Document config;
  if (!instance_.readConfig(&config)) return false;
  Document input(rapidjson::kObjectType, &config.GetAllocator());
  auto& allocator = input.GetAllocator();
  input.AddMember("writable", writableValue(config, &input), allocator);
  if (!describe(&config, &input) || !placement(session_, arguments_, instance_.cgroups(), &input)) return false;
  Value target(rapidjson::kObjectType);
  target.AddMember("pid", instance_.process().pid, allocator);
  target.AddMember("startTicks", instance_.process().startTicks, allocator);
  input.AddMember("target", target, allocator);
  const rapidjson::Document& record = instance_.record();
  input.AddMember("state", identityValue(instance_.id(), textMember(record, "bundle"), &input), allocator);
  const bool keyring = !record.HasMember("keyring") || record["keyring"].GetBool();
  input.AddMember("keyring", keyring, allocator);
  bool theirRoot = false;
  if (config.HasMember("linux") && config["linux"].IsObject()) {
    Value& part = config["linux"];
    theirRoot = joinsMounts(plan::View(part));
    if (part.HasMember("seccomp")) input.AddMember("seccomp", part["seccomp"], allocator);
    if (part.HasMember("resources") && part["resources"].IsObject() && part["resources"].HasMember("cpu")) {
      Value& cpu = part["resources"]["cpu"];
      if (cpu.IsObject() && cpu.HasMember("cpus")) input.AddMember("cpus", cpu["cpus"], allocator);
    }
  }
  Value unattended(rapidjson::kObjectType);
  unattended.AddMember("preservedFds", preservedFds_, allocator);
  unattended.AddMember("intoFrozen", arguments_.flag("ignore-paused"), allocator);
  unattended.AddMember("theirRoot", theirRoot, allocator);
  input.AddMember("unattended", unattended, allocator);
  plan::Compiled compiled;
  plan::CompileError error;
  if (!plan::compileExec(plan::View(input), nullptr, &compiled, &error)) {
    return session_->fail(error.pointer + " " + error.message);
  }
  for (const std::string& warning : compiled.warnings) session_->trace(warning);
  *bytes = std::move(compiled.bytes);
  return true;
}

bool Execution::converse(Init* init) {
  for (;;) {
    Fd passed;
    Result<init::Report> next = init->next(&passed);
    if (!next.ok()) return session_->fail("bulkhead-init", next.error());
    const init::Report& report = next.value();
    if (report.kind == init::ReportKind::failed) {
      session_->programStatus = programStatus(report);
      return session_->fail(oci::describe(report));
    }
    process_ = {report.processPid, report.processTicks};
    if (report.kind == init::ReportKind::started) return true;
    if (!arguments_.has("console-socket")) {
      terminal_ = std::move(passed);
    } else if (!sendTerminal(session_, arguments_.value("console-socket"), passed)) {
      return false;
    }
  }
}

int Execution::run() {
  const bool detached = arguments_.flag("detach");
  Foreground foreground;
  if (!countPreservedFds(session_, arguments_.value("preserve-fds"), &preservedFds_)) return kExecFailed;
  if (!detached && !foreground.prepare(session_)) return kExecFailed;
  if (!instance_.open(arguments_.operands()[0])) return kExecFailed;
  const Phase phase = instance_.phase();
  const bool usable = phase == Phase::running || phase == Phase::created ||
                      (phase == Phase::paused && arguments_.flag("ignore-paused"));
  if (!usable) {
    session_->fail("cannot exec in a container that is " + std::string(phaseName(phase)));
    return kExecFailed;
  }
  std::string bytes;
  if (!compile(&bytes)) return kExecFailed;
  {
    Init init;
    Status started = init.start({"exec", bytes, -1, preservedFds_});
    if (!started.ok()) session_->fail("cannot start bulkhead-init", started.error());
    if (!started.ok() || !converse(&init)) {
      return session_->programStatus != 0 ? session_->programStatus : kExecFailed;
    }
  }
  const std::string pidFile = arguments_.value("pid-file");
  if (!sendPidfd(session_, arguments_.value("pidfd-socket"), process_) ||
      (!pidFile.empty() && !writePidFile(session_, pidFile, process_.pid))) {
    Result<Fd> process = sys::openProcess(process_);
    if (process.ok()) (void)sys::signalPid(process.value().get(), SIGKILL).ok();
    return kExecFailed;
  }
  return detached ? 0 : foreground.wait(session_, process_, std::move(terminal_));
}

}  // namespace

int runExecCommand(Session* session, const Arguments& arguments) {
  return Execution(session, arguments).run();
}

}  // namespace bulkhead::oci
