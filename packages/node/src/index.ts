export { Agent } from "./agent.ts";
export type { AgentOptions } from "./agent.ts";
export { systemClock } from "./clock.ts";
export type { Clock, Timer } from "./clock.ts";
export type { CommandContext, ControlPlane, Subscription } from "./control-plane.ts";
export { imageFailure } from "./image-failure.ts";
export { processFailure } from "./process-failure.ts";
export { defaultPath, processOf, type ProcessPlan } from "./image-process.ts";
export { cardDescriptor } from "./jail.ts";
export type {
  Jail,
  JailedDevice,
  JailedFile,
  JailedProcess,
  JailedProgram,
  JailedRun,
  JailRequest,
  SharedCpus,
} from "./jail.ts";
export { hostsFile, resolvConfFile } from "./network-files.ts";
export { parseHostUsage, readHostUsage } from "./host-usage.ts";
export type { HostUsage } from "./host-usage.ts";
export { openLeasePage } from "./lease-page.ts";
export type { LeasePage, LeaseState } from "./lease-page.ts";
export type { Log } from "./log.ts";
export { silentObserver } from "./observer.ts";
export type { AgentObserver } from "./observer.ts";
export { settlesWithin } from "./settles-within.ts";
export { signalName, signalNumber } from "./signals.ts";
export { StartFailure } from "./runtime.ts";
export type {
  ContractCheck,
  ReadProgress,
  Ended,
  ExecRequest,
  ExecSession,
  LogLine,
  LogRequest,
  ResizeOutcome,
  Run,
  RunKey,
  Runtime,
  StartRequest,
  Usage,
} from "./runtime.ts";
export { isRecordedAssignment } from "./recorded-assignment.ts";
export { directoryStorage, syncPath } from "./storage.ts";
export type { AppendFile, Storage } from "./storage.ts";
