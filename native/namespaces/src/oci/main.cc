// bulkhead-oci: the OCI runtime command line. Started as "bulkhead-init" it is that, for the containers of the other.
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "init/entry.h"
#include "oci/command.h"

namespace bulkhead::oci {
namespace {

constexpr const char* kVersion = "bulkhead-oci version 0.1.0\nspec: 1.3.0\n";

bool applyGlobal(Session* session, const Arguments& arguments) {
  session->debug = arguments.flag("debug");
  session->logPath = arguments.value("log");
  if (session->logPath == "/dev/stderr") session->logPath.clear();
  const std::string format = arguments.value("log-format", "text");
  if (format != "text" && format != "json") return session->fail("--log-format is text or json");
  session->jsonLog = format == "json";
  session->root = arguments.value("root", session->root);
  while (session->root.size() > 1 && session->root.back() == '/') session->root.pop_back();
  if (session->root.empty() || session->root[0] != '/') return session->fail("--root must be an absolute path");
  const std::string manager = arguments.value("cgroup-manager", "cgroupfs");
  if (manager != "cgroupfs" && manager != "systemd") return session->fail("--cgroup-manager is cgroupfs or systemd");
  session->systemdCgroup = arguments.flag("systemd-cgroup") || manager == "systemd";
  if (arguments.value("rootless") == "true") return session->fail("rootless containers are not supported");
  return true;
}

const Command* findCommand(const std::string& name) {
  for (size_t index = 0; index < kCommandCount; ++index) {
    if (name == kCommands[index].name) return &kCommands[index];
  }
  return nullptr;
}

int dispatch(Session* session, const Arguments& global) {
  const auto& words = global.operands();
  if (global.flag("version")) {
    fputs(kVersion, stdout);
    return 0;
  }
  if (global.flag("help") || words.empty() || words[0] == "help") {
    printHelp(words.size() > 1 ? findCommand(words[1]) : nullptr);
    return words.empty() && !global.flag("help") ? kFailed : 0;
  }
  // Before its options, and with --help too: engines take an answer to that for support.
  if (words[0] == "checkpoint" || words[0] == "restore") {
    return exitStatus(session->fail(words[0] + " is not supported: this runtime has no checkpoints"));
  }
  const Command* command = findCommand(words[0]);
  if (command == nullptr) return exitStatus(session->fail("unknown command " + words[0]));
  std::vector<char*> rest;
  for (size_t index = 1; index < words.size(); ++index) rest.push_back(const_cast<char*>(words[index].c_str()));
  for (char* word : rest) {
    if (word[0] != '-' || strcmp(word, "--") == 0) break;
    if (strcmp(word, "--help") != 0 && strcmp(word, "-h") != 0) continue;
    printHelp(command);
    return 0;
  }
  Arguments arguments;
  const bool exec = command->run == runExecCommand;
  if (!arguments.parse(session, command->options, command->optionCount, rest.data(), static_cast<int>(rest.size()))) {
    return exec ? kExecFailed : kFailed;
  }
  const size_t count = arguments.operands().size();
  const bool fixed = command->maximumOperands != 0 || command->minimumOperands == 0;
  if (count < command->minimumOperands || (fixed && count > command->maximumOperands)) {
    session->fail(std::string("usage: bulkhead-oci ") + command->name + " [OPTION...] " + command->operands);
    return exec ? kExecFailed : kFailed;
  }
  if (geteuid() != 0 && command->run != runSpec && command->run != runFeatures) {
    return exitStatus(session->fail("bulkhead-oci must be run as root"));
  }
  return command->run(session, arguments);
}

int mainOf(int argc, char** argv) {
  Session session;
  Arguments global;
  int status = kFailed;
  if (global.parse(&session, kGlobalOptions, kGlobalOptionCount, argv + 1, argc - 1) && applyGlobal(&session, global)) {
    status = dispatch(&session, global);
  }
  session.report();
  return status;
}

}  // namespace
}  // namespace bulkhead::oci

int main(int argc, char** argv) {
  if (argc > 0 && strcmp(argv[0], "bulkhead-init") == 0) return bulkhead::init::runInit(argc, argv);
  return bulkhead::oci::mainOf(argc, argv);
}
