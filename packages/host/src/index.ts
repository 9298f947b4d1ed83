export { deviceNumbers, diskOf, type BlockDevice } from "./block-device.ts";
export { readBootId } from "./boot.ts";
export {
  instancesMax,
  ownCpuQuotaMillis,
  ownMemoryLimitBytes,
  readCapacity,
  reservedMemoryBytes,
  totalMemoryBytes,
  usableCpus,
} from "./capacity.ts";
export {
  cgroupBelow,
  openCgroupParents,
  ownCgroupFile,
  removeCgroupParents,
  type CgroupParents,
} from "./cgroup-parents.ts";
export {
  hierarchyOf,
  parseCgroups,
  readCgroups,
  type CgroupLayout,
  type CgroupMode,
  type Hierarchy,
} from "./cgroups.ts";
export { formatCpuList, parseCpuList } from "./cpu-list.ts";
export type { CpuUser } from "./cpu-partition.ts";
export { HostCpus } from "./host-cpus.ts";
export { readOrCreateHostId } from "./identity.ts";
export { leaksBetween, snapshotHost, type HostSnapshot, type SnapshotScope } from "./leaks.ts";
export { acquireHostLock, type HostLock } from "./lock.ts";
export { MountAllowList } from "./mount-allow-list.ts";
export { hostHash, hostPaths, type HostPaths } from "./paths.ts";
export type { PromisedCpus } from "./promised-cpus.ts";
export { identityLives, ownIdentity, startTicksOf, stateOf, type ProcessIdentity } from "./process.ts";
export { openRunDirectory, openStateDirectory } from "./run-directory.ts";
export { firstRangeId, idsPerRange, parseSubordinateIds, rangeCount, UidRanges, type UidRange } from "./uid-ranges.ts";
export { cgroupOfRun } from "./cpuset-group.ts";
export { readTopology, type CpuPlace, type HostTopology, type NumaNode } from "./topology.ts";
export { closeMountArea, fileSystemCommand, isMountPoint, mountsBelow, openMountArea } from "./mount-area.ts";
export { hasPacketRules } from "./network/made-networks.ts";
export { HostNetworks, type HostNetworksOptions } from "./network/networks.ts";
export { linkLocalOf, networkNames, type NetworkNames } from "./network/names.ts";
export type { Attachment, ConnectedRun, Connection } from "./network/state.ts";
export { hostResolvers } from "./dns/forward.ts";
export { NameResponder } from "./dns/responder.ts";
