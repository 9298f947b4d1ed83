export {
  guestMemoryBytes,
  type HostEngine,
  HostMachines,
  type InstanceMachine,
  MachineEngine,
  machineEngines,
  machineMemoryBytes,
  machineMemoryPolicies,
  VmOptions,
  type MachineMemoryPolicy,
  type MonitorOverhead,
} from "./machine.ts";
export {
  formatAddress,
  formatRange,
  gatewayOf,
  parseAddress,
  parseRange,
  rangeSize,
  rangesOverlap,
  type IpAddress,
  type IpRange,
} from "./address.ts";
export {
  Accepted,
  DesiredChanged,
  DesiredDocument,
  DocumentPlace,
  DocumentPosition,
  FetchDesired,
  Heartbeat,
  LeaseGrant,
  OpenExec,
  OpenLogs,
  SignalInstance,
  type Pressure,
  UsageBatch,
  UsageSample,
} from "./agent.ts";
export { documentDigest } from "./digest.ts";
export {
  enforceableFields,
  machineShareField,
  namespaceShareField,
  usedFields,
  type EnforceableField,
} from "./enforceable.ts";
export { errors, FleetError, fleetError, isFleetError, toProblem, type ErrorCode, type ErrorFields } from "./errors.ts";
export { Event, eventTypes, InstanceReport, ReportAck, ReportBatch, type EventType } from "./event.ts";
export { Capacity, Host, HostCredential, HostDisk, HostFacts, HostState, hostStates, JoinHost } from "./host.ts";
export {
  ClusterId,
  compareEpochs,
  Digest,
  Epoch,
  HostId,
  InstanceId,
  Isolation,
  Labels,
  Name,
  NetworkId,
  OperationId,
  SnapshotId,
  Timestamp,
  WorkloadId,
} from "./ids.ts";
export { Image, ImageConfig, ImageName, PullImage } from "./image.ts";
export {
  Assignment,
  DesiredState,
  desiredStates,
  ExitStatus,
  Instance,
  InstanceReason,
  instanceReasons,
  InstanceState,
  instanceStates,
  type OomKill,
  ResizeStatus,
  Tombstone,
} from "./instance.ts";
export { CreateKernel, Kernel, kernelReleasePattern, maximumKernelBytes } from "./kernel.ts";
export { metrics, type MetricKey } from "./metrics.ts";
export {
  AssignedNetwork,
  AssignedPort,
  Bandwidth,
  CreateNetwork,
  hasOwnNetwork,
  Network,
  NetworkChoice,
  Protocol,
  PublishedPort,
  reservedNetworkNames,
} from "./network.ts";
export { LayerProgress, layerStates, Operation, operationKinds, type OperationKind } from "./operation.ts";
export { Problem } from "./problem.ts";
export {
  ApplyShares,
  AssignedNamespaces,
  AssignedShare,
  AttachShare,
  CreateShare,
  defaultSharedMemoryBytes,
  instanceSharesMax,
  minimumShareBytes,
  mountedShareKinds,
  RemoveShare,
  Share,
  ShareChange,
  ShareGraph,
  ShareId,
  shareKinds,
  ShareMount,
  ShareOutcome,
  SharesApplied,
  ShareSpec,
  ShareUse,
  sharedNamespaceTypes,
  shareUseStates,
  withShareDefaults,
  type FullShareSpec,
  type MountedShareKind,
  type SharedNamespaceType,
  type ShareKind,
} from "./share.ts";
export {
  RemoveSnapshot,
  RestoreSnapshot,
  Snapshot,
  snapshotStates,
  snapshotStateBytesMax,
  TakenSnapshot,
  TakeSnapshot,
  VerifySnapshot,
} from "./snapshot.ts";
export {
  channels,
  decodeFrame,
  encodeFrame,
  maximumFrameBytes,
  StreamControl,
  StreamExit,
  type Channel,
} from "./stream.ts";
export {
  parseSubject,
  streams,
  subjectFor,
  subjects,
  type BodyOf,
  type MessageSubject,
  type Publisher,
  type ReplyOf,
  type RequestSubject,
  type StreamName,
  type SubjectKey,
  type SubjectParameters,
} from "./subjects.ts";
export { isStorable, storable, storableText, unstorableAt } from "./text.ts";
export { CreateToken, Token, tokenRoles, type TokenRole } from "./token.ts";
export { UsageWindowItem, UsageWindowPoint, UsageWindows } from "./usage.ts";
export { uuidV7 } from "./uuid.ts";
export {
  InstanceView,
  namespaceTypes,
  ViewDevice,
  viewExamplesMax,
  ViewInstance,
  viewListMax,
  ViewMount,
  ViewNamespace,
  ViewSeccomp,
  ViewSocket,
  type NamespaceType,
} from "./view.ts";
export { channelKinds, MachineChannel, MachineFile, MachineThreads, MachineView } from "./machine-view.ts";
export {
  BindMount,
  TemporaryDirectory,
  ContainerOptions,
  CreateWorkload,
  defaultRestartPolicy,
  IoLimits,
  minimumCpuMillis,
  machineDirectoriesMax,
  minimumMachineBytes,
  minimumMemoryBytes,
  PatchWorkload,
  Resources,
  RestartPolicy,
  specBytesMax,
  Workload,
  WorkloadSpec,
} from "./workload.ts";
