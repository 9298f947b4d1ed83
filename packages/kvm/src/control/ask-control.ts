import { execFile } from "node:child_process";
import { lstat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { fleetError } from "@bulkhead/contracts";
import { monitorPath } from "@bulkhead/native-kvm";

/** Name of the socket at which a monitor of ours listens, in its directory of sockets. */
const controlName = "control";
const answerBytesMax = 1 << 20;
const run = promisify(execFile);

interface Asking {
  /** how long the answer may take, in milliseconds; default 5 s */
  readonly timeoutMs?: number;
  /** what the question has besides, in the words of the monitor's program */
  readonly words?: readonly string[];
}

/** What the monitor said of why not: one JSON object at the end of standard error. */
const whyOf = (cause: unknown): string => {
  const said = typeof cause === "object" && cause !== null && "stderr" in cause ? String(cause.stderr).trim() : "";
  return said === "" ? "" : `: ${said.slice(-500).replaceAll(/[^\x20-\x7e]/g, "?")}`;
};

/**
 * Asks the monitor that listens in `ports`, which is the monitor's own directory. Its control keeps messages apart, and
 * takes descriptors, neither of which Node's sockets can do, so the monitor's own program asks. Rejects RUNTIME_FAILED.
 */
export const askControl = async (ports: string, request: string, asking: Asking = {}): Promise<string> => {
  const failed = (why: string, cause?: unknown) => fleetError("RUNTIME_FAILED", `the monitor ${why}`, { cause });
  const socket = await lstat(join(ports, controlName)).catch(() => null);
  if (socket?.isSocket() !== true) throw failed("listens at no socket");
  const question = ["--ask", controlName, "--request", request, ...(asking.words ?? [])];
  // A socket's path is of 107 bytes at most, and this one's directory is deep.
  const asked = run(monitorPath, question, {
    cwd: ports,
    timeout: asking.timeoutMs ?? 5_000,
    maxBuffer: answerBytesMax,
  });
  const { stdout } = await asked.catch((cause: unknown) => {
    throw failed(`does not do what it is asked (${request})${whyOf(cause)}`, cause);
  });
  return stdout;
};
