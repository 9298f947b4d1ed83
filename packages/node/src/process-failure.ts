import type { InstanceReason } from "@bulkhead/contracts";
import type { ProcessPlan } from "./image-process.ts";

/** A reason of the closed list, and a sentence a person can act on. */
interface Failure {
  readonly reason: InstanceReason;
  readonly detail: string;
}

const pathOf = (process: ProcessPlan): string =>
  process.env.find((entry) => entry.startsWith("PATH="))?.slice("PATH=".length) ?? "";

const entrypointFailure = (code: string, process: ProcessPlan): Failure | null => {
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

/**
 * Why a program was not started, by the step of its start and errno's name; null when it is not for what the program is
 * or who it runs as. The steps have the same names in a container and in a machine.
 */
export const processFailure = (
  { step, code }: { readonly step: string; readonly code: string },
  process: ProcessPlan,
): Failure | null => {
  switch (step) {
    case "exec":
      return entrypointFailure(code, process);
    case "user":
    case "user lookup":
      return {
        reason: "UserNotFound",
        detail: `user "${process.user}" is not in the image's /etc/passwd or /etc/group`,
      };
    case "working directory":
      return {
        reason: "WorkingDirUnusable",
        detail: `"${process.cwd}" cannot be the working directory (${code})`,
      };
    default:
      return null;
  }
};
