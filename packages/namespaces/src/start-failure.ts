import { isFleetError, type InstanceReason } from "@bulkhead/contracts";
import { NativeError } from "@bulkhead/native-namespaces";
import { imageFailure, processFailure, StartFailure, type ProcessPlan } from "@bulkhead/node";

/** Errno names that mean "this host has no more of it now" (clone(2), fork(2)). */
const exhausted = new Set(["EAGAIN", "ENOMEM", "EMFILE", "ENFILE", "EUSERS"]);
const diskFull = new Set(["ENOSPC", "EDQUOT"]);
/** openat2(RESOLVE_BENEATH) answers this when a symbolic link would leave the allowed directory. */
const leftAllowedDirectory = "EXDEV";

const failureOf = (error: NativeError, process: ProcessPlan): { reason: InstanceReason; detail: string } => {
  const where = `${error.step}: ${error.op}${error.path === undefined ? "" : ` ${error.path}`}: ${error.code}`;
  const known = diskFull.has(error.code) ? null : processFailure(error, process);
  if (known !== null) return known;
  if (error.step === "writable paths" && error.path !== undefined && !exhausted.has(error.code)) {
    return { reason: "WritableUnusable", detail: `"${error.path}" cannot be a place to write in (${error.code})` };
  }
  if (diskFull.has(error.code)) return { reason: "DiskFull", detail: `no space left (${where})` };
  if (exhausted.has(error.code)) return { reason: "ResourceExhausted", detail: `the host ran out (${where})` };
  if (!error.step.startsWith("mount ")) return { reason: "RuntimeFailed", detail: where };
  return error.code === leftAllowedDirectory
    ? { reason: "MountNotAllowed", detail: `a symbolic link leads out of the allowed directory (${where})` }
    : { reason: "MountFailed", detail: where };
};

/** Why an instance could not be connected to its network. */
export const networkFailure = (cause: unknown): StartFailure =>
  isFleetError(cause) && cause.code === "PORT_BUSY"
    ? new StartFailure("PortBusy", cause.message, cause)
    : new StartFailure("NetworkFailed", messageOf(cause), cause);

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

/** What a failed start is called towards the user: the reason from a closed list, and a sentence a person can act on. */
export const startFailure = (cause: unknown, process: ProcessPlan | null): StartFailure => {
  if (cause instanceof StartFailure) return cause;
  if (cause instanceof NativeError && process !== null) {
    const { reason, detail } = failureOf(cause, process);
    return new StartFailure(reason, detail, cause);
  }
  if (isFleetError(cause)) {
    return imageFailure(cause);
  }
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  if (diskFull.has(code)) return new StartFailure("DiskFull", `no space left: ${messageOf(cause)}`, cause);
  if (exhausted.has(code)) return new StartFailure("ResourceExhausted", messageOf(cause), cause);
  return new StartFailure("RuntimeFailed", messageOf(cause), cause);
};
