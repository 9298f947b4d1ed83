// The one list of fields that both directions of the codec walk, so that they
// cannot disagree.
#pragma once

#include "plan/plan.h"

namespace bulkhead::plan {

template <class Archive>
bool fields(Archive& a, CgroupWrite& v) {
  return a(v.file) && a(v.value);
}
template <class Archive>
bool fields(Archive& a, CgroupDirectory& v) {
  return a(v.path) && a(v.controllers) && a(v.flags) && a(v.writes) && a(v.deviceProgram);
}
template <class Archive>
bool fields(Archive& a, IdMap& v) {
  return a(v.inside) && a(v.outside) && a(v.count);
}
template <class Archive>
bool fields(Archive& a, MountOption& v) {
  return a(v.key) && a(v.value);
}
template <class Archive>
bool fields(Archive& a, Mount& v) {
  return a(v.kind, kMountKinds) && a(v.flags) && a(v.destination) && a(v.source) && a(v.beneath) &&
         a(v.attributesSet) && a(v.attributesClear) && a(v.recursiveSet) && a(v.recursiveClear) && a(v.propagation) &&
         a(v.options) && a(v.uidMap) && a(v.gidMap);
}
template <class Archive>
bool fields(Archive& a, Device& v) {
  return a(v.path) && a(v.mode) && a(v.major) && a(v.minor) && a(v.uid) && a(v.gid);
}
template <class Archive>
bool fields(Archive& a, Sysctl& v) {
  return a(v.path) && a(v.value);
}
template <class Archive>
bool fields(Archive& a, Limit& v) {
  return a(v.resource) && a(v.soft) && a(v.hard);
}
template <class Archive>
bool fields(Archive& a, NamespaceJoin& v) {
  return a(v.type) && a(v.path);
}
template <class Archive>
bool fields(Archive& a, BpfInstruction& v) {
  return a(v.code) && a(v.jumpTrue) && a(v.jumpFalse) && a(v.operand);
}
template <class Archive>
bool fields(Archive& a, Seccomp& v) {
  return a(v.flags) && a(v.program) && a(v.listenerPath) && a(v.stateBefore);
}
template <class Archive>
bool fields(Archive& a, Scheduling& v) {
  return a(v.flags) && a(v.policy) && a(v.policyFlags) && a(v.nice) && a(v.priority) && a(v.runtimeNs) &&
         a(v.deadlineNs) && a(v.periodNs) && a(v.ioPriority) && a(v.personality) && a(v.memoryMode) && a(v.memoryNodes);
}
template <class Archive>
bool fields(Archive& a, TimeOffset& v) {
  return a(v.clock) && a(v.seconds) && a(v.nanoseconds);
}
template <class Archive>
bool fields(Archive& a, Process& v) {
  return a(v.flags) && a(v.arguments) && a(v.environment) && a(v.workingDirectory) && a(v.imageUser) && a(v.uid) &&
         a(v.gid) && a(v.groups) && a(v.umask) && a(v.oomScore) && a(v.boundingSet) && a(v.permittedSet) &&
         a(v.ambientSet) && a(v.limits) && a(v.affinity) && a(v.firstAffinity) && a(v.scheduling) &&
         a(v.appArmorProfile) && a(v.seLinuxLabel) && a(v.keyring) && a(v.seccomp) && a(v.writablePaths) && a(v.rows) &&
         a(v.columns) && a(v.preservedFds);
}
template <class Archive>
bool fields(Archive& a, Hook& v) {
  return a(v.path) && a(v.arguments) && a(v.environment) && a(v.timeoutSeconds);
}
template <class Archive>
bool fields(Archive& a, Root& v) {
  return a(v.kind, 2) && a(v.readOnly) && a(v.layers) && a(v.upper) && a(v.work) && a(v.propagation);
}
template <class Archive>
bool fields(Archive& a, Container& v) {
  return a(v.flags) && a(v.namespaces) && a(v.joins) && a(v.uidMap) && a(v.gidMap) && a(v.cgroups) && a(v.root) &&
         a(v.mounts) && a(v.devices) && a(v.maskedPaths) && a(v.readOnlyPaths) && a(v.sysctls) && a(v.hostname) &&
         a(v.domainname) && a(v.timeOffsets) && a(v.process) && a(v.runDirectory) && a(v.logPath) && a(v.logMaxBytes) &&
         a(v.logMaxFiles) && a(v.leasePage) && a(v.leaseMs) && a(v.createContainerHooks) && a(v.startContainerHooks) &&
         a(v.faultStep);
}
template <class Archive>
bool fields(Archive& a, Birth& v) {
  return a(v.flags) && a(v.namespaces) && a(v.cgroups) && a(v.faultStep);
}
template <class Archive>
bool fields(Archive& a, Exec& v) {
  return a(v.flags) && a(v.targetPid) && a(v.targetTicks) && a(v.cgroups) && a(v.process);
}

}  // namespace bulkhead::plan
