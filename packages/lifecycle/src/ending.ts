import type { InstanceReason } from "@bulkhead/contracts";

/** What the kernel and the agent know about a process that ended. */
export interface Ending {
  readonly exitCode: number | null;
  readonly signal: number | null;
  readonly oomKilled: boolean;
  /** the agent had been told to end it */
  readonly stopWanted: boolean;
  /** its shim killed it because the host's lease ran out */
  readonly leaseExpired?: boolean;
}

/**
 * Why a run ended. What was asked for outranks how it happened: a stop that needed SIGKILL is still a stop. Memory outranks
 * the signal, because the kernel kills for memory by a signal.
 */
export const reasonOf = (ending: Ending): InstanceReason => {
  if (ending.stopWanted) return "StoppedByUser";
  if (ending.leaseExpired === true) return "LeaseExpired";
  if (ending.oomKilled) return "OomKilled";
  return ending.signal === null ? "Exited" : "Signaled";
};

/**
 * Reasons that no repetition can heal: the spec or the image must change first. They end in `failed` under every policy,
 * so that the precise reason stays visible instead of drowning in a crash loop.
 */
const finalReasons: ReadonlySet<InstanceReason> = new Set<InstanceReason>([
  "EntrypointNotFound",
  "EntrypointNotExecutable",
  "EntrypointWrongFormat",
  "ImageInvalid",
  "MountNotAllowed",
  "UserNotFound",
  "WorkingDirUnusable",
  "WritableUnusable",
]);

export const isFinal = (reason: InstanceReason): boolean => finalReasons.has(reason);
