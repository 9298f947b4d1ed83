import { isFleetError, type InstanceReason } from "@bulkhead/contracts";
import { NativeError } from "@bulkhead/native-namespaces";
import { StartFailure } from "@bulkhead/node";
import type { ProcessPlan } from "./image-process.ts";

/** Errno names that mean "this host has no more of it now" (clone(2), fork(2)). */
const exhausted = new Set(["EAGAIN", "ENOMEM", "EMFILE", "ENFILE", "EUSERS"]);
const diskFull = new Set(["ENOSPC", "EDQUOT"]);
/** openat2(RESOLVE_BENEATH) answers this when a symbolic link would leave the allowed directory. */
const leftAllowedDirectory = "EXDEV";

const pathOf = (process: ProcessPlan): string =>
  process.env.find((entry) => entry.startsWith("PATH="))?.slice("PATH=".length) ?? "";

const entrypointFailure = (code: string, process: ProcessPlan): { reason: InstanceReason; detail: string } | null => {
  const [program = ""] = process.args;
  const searched = program.includes("/") ? "" : ` (PATH=${pathOf(process)})`;
  switch (code) {
    case "ENOENT":
      return {
        reason: "EntrypointNotFound",
        detail: `"${program}" is not in the image${searched}, or the interpreter it names is not`,
      };
    case "ENOTDIR":
      return { reason: "EntrypointNotFound", detail: `"${program}" is not in the image: a part of it is no directory` };
    case "EACCES":
    case "EPERM":
    case "EISDIR":
      return {
        reason: "EntrypointNotExecutable",
        detail: `"${program}" is in the image${searched}, but its user may not execute it (mode, or a directory)`,
      };
    case "ENOEXEC":
    case "EINVAL":
    case "ELIBBAD":
      return {
        reason: "EntrypointWrongFormat",
        detail: `"${program}" is no program for this machine (x86-64 ELF or a script with "#!")`,
      };
    case "E2BIG":
      return { reason: "RuntimeFailed", detail: `command and environment together are too large (${code})` };
    default:
      return null;
  }
};

const failureOf = (error: NativeError, process: ProcessPlan): { reason: InstanceReason; detail: string } => {
  const where = `${error.step}: ${error.op}${error.path === undefined ? "" : ` ${error.path}`}: ${error.code}`;
  if (error.step === "exec") {
    const known = entrypointFailure(error.code, process);
    if (known !== null) return known;
  }
  if (error.step === "user lookup" || error.step === "user") {
    return { reason: "UserNotFound", detail: `user "${process.user}" is not in the image's /etc/passwd or /etc/group` };
  }
  if (error.step === "working directory" && !diskFull.has(error.code)) {
    return { reason: "WorkingDirUnusable", detail: `"${process.cwd}" cannot be the working directory (${error.code})` };
  }
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

const imageReasons: Readonly<Record<string, InstanceReason>> = {
  IMAGE_INVALID: "ImageInvalid",
  IMAGE_DIGEST_MISMATCH: "ImageInvalid",
  IMAGE_TOO_LARGE: "ImageInvalid",
  IMAGE_UNAVAILABLE: "ImageUnavailable",
  UNAUTHENTICATED: "ImageUnavailable",
  FORBIDDEN: "ImageUnavailable",
  NO_CAPACITY: "ResourceExhausted",
};

/** Why an image could not be made ready, as the instance will show it. */
export const imageFailure = (cause: unknown): StartFailure => {
  if (cause instanceof StartFailure) return cause;
  if (!isFleetError(cause)) return new StartFailure("ImageUnavailable", messageOf(cause), cause);
  const full = cause.code === "RUNTIME_FAILED" && /disk .* full/.test(cause.message);
  return new StartFailure(full ? "DiskFull" : (imageReasons[cause.code] ?? "RuntimeFailed"), cause.message, cause);
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
    return new StartFailure(imageReasons[cause.code] ?? "RuntimeFailed", cause.message, cause);
  }
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  if (diskFull.has(code)) return new StartFailure("DiskFull", `no space left: ${messageOf(cause)}`, cause);
  if (exhausted.has(code)) return new StartFailure("ResourceExhausted", messageOf(cause), cause);
  return new StartFailure("RuntimeFailed", messageOf(cause), cause);
};
