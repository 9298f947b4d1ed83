// `start`: through the gate to execve.
#include "init/gate.h"
#include "init/report.h"
#include "oci/create.h"
#include "oci/destroy.h"
#include "oci/gate_socket.h"
#include "oci/hooks.h"
#include "oci/spawn.h"
#include "sys/syscalls.h"

namespace bulkhead::oci {
namespace {

bool passGate(Session* session, Instance* instance) {
  Result<Fd> state = instance->stateFile(Phase::created);
  if (!state.ok()) return session->fail("state for hooks", state.error());
  Result<Fd> gate = connectIn(instance->directory(), kGate);
  if (!gate.ok()) return session->fail("cannot reach the container's process", gate.error());
  const int passed = state.value().get();
  Status sent = sys::sendMessage(gate.value().get(), &init::kGateOpens, 1, &passed, 1);
  if (!sent.ok()) return session->fail("cannot reach the container's process", sent.error());
  // From here on it is started, whatever becomes of this process.
  Status removed = sys::removeAt(instance->directory(), kGate, 0);
  if (!removed.ok()) return session->fail("cannot remove the gate", removed.error());
  init::Report report = {};
  Result<sys::Received> received = sys::receiveMessage(gate.value().get(), &report, sizeof report);
  if (received.ok() && init::checkReport(&report, received.value().size).ok()) {
    session->programStatus = programStatus(report);
    return session->fail(describe(report));
  }
  return true;
}

}  // namespace

bool startContainer(Session* session, Instance* instance) {
  const Phase phase = instance->phase();
  if (phase != Phase::created) {
    return session->fail("cannot start a container that is " + std::string(phaseName(phase)));
  }
  rapidjson::Document config;
  if (!instance->readConfig(&config)) return false;
  if (!passGate(session, instance)) return false;
  if (runHooksAt(session, config, "poststart", *instance, Phase::running)) return true;
  // Version 1.3 of the specification: the container is stopped, and an engine may still look at it and delete it.
  (void)cgroup::killAll(instance->cgroups()).ok();
  return false;
}

}  // namespace bulkhead::oci
