export { NativeError } from "./error.ts";
export { compilePlan } from "./plan.ts";
export { PreparedStart, start } from "./start.ts";
export { placeShims } from "./shim.ts";
export { exec } from "./exec.ts";
export { readExit, readStatus } from "./records.ts";
export { isAlive, sendSignal, startTicks, watchExit } from "./processes.ts";
export { applyResources, freeze, killAll, readAffinity, readLimits, readUsage, removeCgroup, thaw } from "./cgroup.ts";
export { initPath, probe } from "./host.ts";
export { attach, detach, inspect } from "./reach.ts";
export { removeTree, removeTrees, spreadChildren } from "./tree.ts";
export {
  applyRoute,
  applyRoutes,
  Descriptor,
  holdPort,
  listAddresses,
  listElements,
  listLinks,
  listTables,
  lockFile,
  openNetworkSpace,
  openTap,
  PacketRules,
} from "./network.ts";
export type {
  Link,
  LinkAddress,
  RouteOperation,
  RoutePart,
  RuleExpression,
  RuleOperation,
  Value as RuleValue,
  ValueKind,
} from "./network.ts";
export type { HostFeatures, Limits, ThreadAffinity, TimedStep, Usage } from "./addon.ts";
export type { ExecInput, ExecStarted } from "./exec.ts";
export type {
  BirthInput,
  CgroupPlacement,
  LogTarget,
  Plan,
  PlanInput,
  RootfsDirectory,
  RootfsOverlay,
} from "./plan.ts";
export type { ExitRecord, ProcessRef, StatusRecord } from "./records.ts";
export type { AttachInput, DeviceNode, Inspection, SourceDirectory } from "./reach.ts";
export type { Started, StartOptions } from "./start.ts";
export type {
  OciCapabilities,
  OciDevice,
  OciDeviceRule,
  OciIdMapping,
  OciLinux,
  OciMount,
  OciNamespace,
  OciProcess,
  OciResources,
  OciRlimit,
  OciSeccomp,
  OciSpec,
  OciUser,
} from "./oci.ts";
