#include "oci/create.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "oci/bundle.h"
#include "oci/destroy.h"
#include "oci/document.h"
#include "oci/gate_socket.h"
#include "oci/handover.h"
#include "oci/hooks.h"
#include "oci/net_devices.h"
#include "oci/place.h"
#include "oci/scope.h"
#include "oci/spawn.h"
#include "plan/compile.h"
#include "sys/file.h"

namespace bulkhead::oci {
namespace {

rapidjson::Value cgroupsValue(const cgroup::Paths& paths, rapidjson::Document* document) {
  rapidjson::Value value(rapidjson::kObjectType);
  for (const auto& [controller, path] : paths.entries) {
    setMember(&value, controller.c_str(), textValue(path, document), document);
  }
  return value;
}

class Creation {
 public:
  Creation(Session* session, const CreateOptions& options, Created* created)
      : session_(session), options_(options), instance_(created->instance), created_(created) {}

  bool run();

 private:
  bool place();
  bool checkTerminal();
  bool cgroupsAreFree();
  bool record();
  bool compile(std::string* bytes);
  bool converse(Init* init);
  bool takeTerminal(Fd master);

  Session* session_;
  const CreateOptions& options_;
  Instance& instance_;
  Created* created_;
  Bundle bundle_;
  cgroup::Paths paths_;
  Scope scope_;
  NetDevices devices_;
  /** Init has said that it failed, and has undone what it made; one that was killed has not. */
  bool undone_ = false;
};

bool Creation::checkTerminal() {
  const plan::View root(bundle_.spec);
  const plan::View process = root.member("process");
  const plan::View terminal = process.member("terminal");
  const bool wanted = terminal.present() && terminal.value().IsBool() && terminal.value().GetBool();
  if (wanted && options_.consoleSocket.empty() && !options_.foreground) {
    return session_->fail("process.terminal needs --console-socket when the container is not run in the foreground");
  }
  if (!wanted && !options_.consoleSocket.empty()) {
    return session_->fail("--console-socket is given, but process.terminal is not set");
  }
  return true;
}

bool Creation::cgroupsAreFree() {
  for (const auto& [controller, path] : paths_.entries) {
    char text[64];
    Result<size_t> size = sys::readFile(AT_FDCWD, (path + "/cgroup.procs").c_str(), text, sizeof text);
    const bool missing = !size.ok() && size.error().err == ENOENT;
    if (missing || (size.ok() && size.value() == 0)) continue;
    return session_->fail("the cgroup " + path + " has processes already");
  }
  return true;
}

bool Creation::record() {
  rapidjson::Document record(rapidjson::kObjectType);
  rapidjson::Value annotations(rapidjson::kObjectType);
  const auto given = bundle_.spec.FindMember("annotations");
  if (given != bundle_.spec.MemberEnd()) annotations.CopyFrom(given->value, record.GetAllocator());
  setMember(&record, "ociVersion", textValue(textMember(bundle_.spec, "ociVersion"), &record), &record);
  setMember(&record, "bundle", textValue(bundle_.path, &record), &record);
  setMember(&record, "rootfs", textValue(bundle_.rootfs, &record), &record);
  setMember(&record, "created", textValue(timestamp(), &record), &record);
  setMember(&record, "annotations", std::move(annotations), &record);
  setMember(&record, "cgroups", cgroupsValue(paths_, &record), &record);
  if (!scope_.unit().empty()) setMember(&record, "systemdUnit", textValue(scope_.unit(), &record), &record);
  setMember(&record, "keyring", rapidjson::Value(!options_.keepsKeyring), &record);
  return instance_.writeRecord(record, bundle_.config);
}

bool Creation::compile(std::string* bytes) {
  // The specification becomes a member of the compiler's input and comes back, so that it is not copied.
  rapidjson::Document input(rapidjson::kObjectType, &bundle_.spec.GetAllocator());
  auto& allocator = input.GetAllocator();
  const bool announced = hooksWhileCreating(bundle_.spec);
  input.AddMember("writable", writableValue(bundle_.spec, &input), allocator);
  rapidjson::Value spec;
  spec.Swap(bundle_.spec);
  input.AddMember("spec", spec, allocator);
  rapidjson::Value rootfs(rapidjson::kObjectType);
  rootfs.AddMember("kind", "directory", allocator);
  rootfs.AddMember("path", textValue(bundle_.rootfs, &input), allocator);
  input.AddMember("rootfs", rootfs, allocator);
  rapidjson::Value placement(rapidjson::kObjectType);
  placement.AddMember("paths", cgroupsValue(paths_, &input), allocator);
  input.AddMember("cgroup", placement, allocator);
  input.AddMember("runDir", textValue(instance_.path(), &input), allocator);
  input.AddMember("state", identityValue(options_.id, bundle_.path, &input), allocator);
  input.AddMember("keyring", !options_.keepsKeyring, allocator);
  rapidjson::Value unattended(rapidjson::kObjectType);
  unattended.AddMember("announced", announced, allocator);
  const bool awaited = !devices_.empty() && devices_.joinedPath().empty();
  unattended.AddMember("preservedFds", options_.preservedFds, allocator);
  input.AddMember("unattended", unattended, allocator);
  input.AddMember("awaitNetwork", awaited, allocator);

  plan::Compiled compiled;
  plan::CompileError error;
  const bool done = plan::compileContainer(plan::View(input), nullptr, &compiled, &error);
  static_cast<rapidjson::Value&>(bundle_.spec).Swap(input["spec"]);
  if (!done) {
    // What is wrong lies in config.json unless it says otherwise.
    const std::string_view pointer = error.pointer;
    const bool inSpec = pointer.starts_with("/spec/");
    return session_->fail((inSpec ? "config.json: " : "") + error.pointer.substr(inSpec ? 5 : 0) + " " + error.message);
  }
  for (const std::string& warning : compiled.warnings) session_->trace(warning);
  *bytes = std::move(compiled.bytes);
  return true;
}

bool Creation::takeTerminal(Fd master) {
  if (options_.consoleSocket.empty()) {
    created_->terminal = std::move(master);
    return true;
  }
  return sendTerminal(session_, options_.consoleSocket, master);
}

bool Creation::converse(Init* init) {
  for (;;) {
    Fd passed;
    Result<init::Report> next = init->next(&passed);
    if (!next.ok()) return session_->fail("bulkhead-init", next.error());
    const init::Report& report = next.value();
    if (report.kind == init::ReportKind::failed) {
      undone_ = true;
      session_->programStatus = programStatus(report);
      return session_->fail(describe(report));
    }
    if (report.kind == init::ReportKind::network) {
      if (!devices_.move(session_, "/proc/" + std::to_string(report.processPid) + "/ns/net")) return false;
      Status went = init->proceed();
      if (!went.ok()) return session_->fail("bulkhead-init", went.error());
      continue;
    }
    instance_.setProcess({report.processPid, report.processTicks});
    if (report.kind == init::ReportKind::started) return true;
    if (report.kind == init::ReportKind::terminal) {
      if (!takeTerminal(std::move(passed))) return false;
      continue;
    }
    if (!runHooksAt(session_, bundle_.spec, "prestart", instance_, Phase::creating) ||
        !runHooksAt(session_, bundle_.spec, "createRuntime", instance_, Phase::creating)) {
      return false;
    }
    Result<Fd> state = instance_.stateFile(Phase::creating);
    if (!state.ok()) return session_->fail("state for hooks", state.error());
    Status went = init->proceed(state.value().get());
    if (!went.ok()) return session_->fail("bulkhead-init", went.error());
  }
}

bool Creation::place() {
  const std::string path = bundle_.cgroupsPath();
  if (session_->systemdCgroup) return scope_.place(session_, path, options_.id, &paths_);
  return placeCgroups(session_, path, options_.id, &paths_);
}

bool Creation::run() {
  if (!bundle_.load(session_, options_.bundle) || !checkTerminal() || !place() || !instance_.create(options_.id)) {
    return false;
  }
  const auto build = [&] {
    std::string bytes;
    devices_.read(plan::View(bundle_.spec));
    // What is recorded as this container's will be killed with it.
    if (!compile(&bytes) || !cgroupsAreFree() || !record()) return false;
    if (!scope_.unit().empty() && !scope_.start(session_, plan::View(bundle_.spec))) return false;
    Result<Fd> gate = listenIn(instance_.directory(), kClosedGate);
    if (!gate.ok()) return session_->fail("cannot make the gate", gate.error());
    if (!devices_.joinedPath().empty() && !devices_.empty() && !devices_.move(session_, devices_.joinedPath())) {
      return false;
    }
    Init init;
    Status started = init.start({"container", bytes, gate.value().get(), options_.preservedFds});
    if (!started.ok()) return session_->fail("cannot start bulkhead-init", started.error());
    if (!converse(&init)) return false;
    scope_.settle();
    Status opened = sys::renameAt(instance_.directory(), kClosedGate, kGate);
    if (!opened.ok()) return session_->fail("cannot name the gate", opened.error());
    if (!sendPidfd(session_, options_.pidfdSocket, instance_.process())) return false;
    return options_.pidFile.empty() || writePidFile(session_, options_.pidFile, instance_.process().pid);
  };
  if (build()) {
    devices_.keep();
    return true;
  }
  Session undoing;
  scope_.settle();
  const bool gone = !instance_.hasRecord() || (undone_ && scope_.unit().empty());
  if (!(gone ? instance_.remove() : destroy(&undoing, &instance_))) session_->warn(undoing.failure());
  return false;
}

}  // namespace

bool createContainer(Session* session, const CreateOptions& options, Created* created) {
  return Creation(session, options, created).run();
}

}  // namespace bulkhead::oci
