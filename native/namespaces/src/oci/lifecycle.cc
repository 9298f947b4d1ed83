// create, run, start, state, kill, delete.
#include <fcntl.h>
#include <signal.h>

#include <cstdio>
#include <cstring>

#include "oci/command.h"
#include "oci/create.h"
#include "oci/destroy.h"
#include "oci/document.h"
#include "oci/foreground.h"
#include "oci/handover.h"
#include "sys/file.h"
#include "sys/syscalls.h"

namespace bulkhead::oci {
namespace {

bool readCreateOptions(Session* session, const Arguments& arguments, CreateOptions* options) {
  options->id = arguments.operands()[0];
  options->bundle = arguments.value("bundle", ".");
  options->pidFile = arguments.value("pid-file");
  options->consoleSocket = arguments.value("console-socket");
  options->pidfdSocket = arguments.value("pidfd-socket");
  options->keepsKeyring = arguments.flag("no-new-keyring");
  return countPreservedFds(session, arguments.value("preserve-fds"), &options->preservedFds);
}

/** A number, or a name with or without "SIG"; 0 when it is none. */
int signalNumber(const std::string& text) {
  uint64_t number = 0;
  if (sys::parseUnsigned(text, NSIG - 1, &number)) return static_cast<int>(number);
  std::string name = text;
  for (char& letter : name) {
    if (letter >= 'a' && letter <= 'z') letter = static_cast<char>(letter - 'a' + 'A');
  }
  if (name.starts_with("SIG")) name.erase(0, 3);
  if (name.starts_with("RTMIN+") && sys::parseUnsigned(name.substr(6), 30, &number)) {
    return 34 + static_cast<int>(number);
  }
  for (int candidate = 1; candidate < NSIG; ++candidate) {
    const char* known = sigabbrev_np(candidate);
    if (known != nullptr && name == known) return candidate;
  }
  return 0;
}

/** A container's process that is killed is gone when its pidfd is readable; this waits for nothing else. */
bool signalContainer(Session* session, Instance* instance, int signal) {
  Result<Fd> process = sys::openProcess(instance->process());
  Status sent = process.ok() ? sys::signalPid(process.value().get(), signal) : Status(process.error());
  return sent.ok() ? true : session->fail("container not running", sent.error());
}

}  // namespace

int runCreate(Session* session, const Arguments& arguments) {
  CreateOptions options;
  Created created(session);
  if (!readCreateOptions(session, arguments, &options)) return kFailed;
  return exitStatus(createContainer(session, options, &created));
}

int runStart(Session* session, const Arguments& arguments) {
  Instance instance(session);
  return exitStatus(instance.open(arguments.operands()[0]) && instance.lock() && startContainer(session, &instance));
}

int runRun(Session* session, const Arguments& arguments) {
  CreateOptions options;
  Foreground foreground;
  const bool detached = arguments.flag("detach");
  if (!readCreateOptions(session, arguments, &options)) return kFailed;
  options.foreground = !detached;
  if (!detached && !foreground.prepare(session)) return kFailed;
  Created created(session);
  if (!createContainer(session, options, &created)) {
    return session->programStatus != 0 ? session->programStatus : kFailed;
  }
  Instance& instance = created.instance;
  if (!startContainer(session, &instance)) {
    Session undoing;
    deleteContainer(&undoing, &instance);
    return session->programStatus != 0 ? session->programStatus : kFailed;
  }
  if (detached) return 0;
  const int status = foreground.wait(session, instance.process(), std::move(created.terminal));
  if (!arguments.flag("keep") && !deleteContainer(session, &instance)) return kFailed;
  return status;
}

int runState(Session* session, const Arguments& arguments) {
  Instance instance(session);
  if (!instance.open(arguments.operands()[0])) return kFailed;
  puts(toText(instance.state(instance.phase()), true).c_str());
  return 0;
}

int runKill(Session* session, const Arguments& arguments) {
  const auto& operands = arguments.operands();
  const std::string given = operands.size() > 1 ? operands[1] : arguments.value("signal", "TERM");
  const int signal = signalNumber(given);
  if (signal == 0) return exitStatus(session->fail("unknown signal " + given));
  Instance instance(session);
  if (!instance.open(operands[0])) return kFailed;
  const Phase phase = instance.phase();
  if (arguments.flag("all")) {
    Status sent = cgroup::signalAll(instance.cgroups(), signal);
    return sent.ok() ? 0 : exitStatus(session->fail("cannot kill", sent.error()));
  }
  if (phase == Phase::stopped) return exitStatus(session->fail("container not running"));
  if (!signalContainer(session, &instance, signal)) return kFailed;
  // The kernel delivers SIGKILL to a frozen v2 cgroup, but not to a v1 one.
  if (phase == Phase::paused && signal == SIGKILL) {
    (void)cgroup::requestFreeze(instance.cgroups(), false).ok();
  }
  return 0;
}

int runDelete(Session* session, const Arguments& arguments) {
  const bool force = arguments.flag("force");
  Instance instance(session);
  const std::string& id = arguments.operands()[0];
  // Forced deletion is for clean-up, and nothing is clean.
  const auto unlessGone = [&] {
    Result<struct stat> known = sys::statusAt(AT_FDCWD, instance.path().c_str(), AT_SYMLINK_NOFOLLOW);
    if (!force || !validId(id) || known.ok() || known.error().err != ENOENT) return kFailed;
    session->forgive();
    return 0;
  };
  if (!instance.open(id)) return unlessGone();
  Phase phase = instance.phase();
  if (force && phase != Phase::stopped) {
    // Without the lock: a start that hangs in a hook holds it until its container's process ends.
    (void)cgroup::killAll(instance.cgroups()).ok();
  }
  if (!instance.lock()) return unlessGone();
  phase = instance.phase();
  if (!force && phase != Phase::stopped && phase != Phase::created) {
    return exitStatus(session->fail("cannot delete container " + id + " that is not stopped: " + phaseName(phase)));
  }
  return exitStatus(deleteContainer(session, &instance));
}

}  // namespace bulkhead::oci
