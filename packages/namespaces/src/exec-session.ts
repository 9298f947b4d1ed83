import { Socket } from "node:net";
import { fleetError, type WorkloadSpec } from "@bulkhead/contracts";
import {
  exec,
  NativeError,
  type CgroupPlacement,
  type ExecStarted,
  type ProcessRef,
} from "@bulkhead/native-namespaces";
import type { ExecRequest, ExecSession } from "@bulkhead/node";
import type { ProcessPlan } from "@bulkhead/node";
import { confinementOf, ociProcess } from "./oci-spec.ts";
import { defaultSeccomp } from "./seccomp-profile.ts";
import { defaultCapabilities } from "./capabilities.ts";
import { startFailure } from "./start-failure.ts";

export interface ExecContext {
  readonly init: ProcessRef;
  readonly cgroup: CgroupPlacement;
  readonly process: ProcessPlan;
  readonly options: WorkloadSpec["container"];
  readonly openFilesMax: number;
}

/** What the terminal is when nobody says: the least that programs with cursor control understand. */
const defaultTerminal = "TERM=xterm";

/** SIGHUP is what a terminal's programs get when it goes away; who ignores it is killed after this, in milliseconds. */
const hangUp = 1;
const sigkill = 9;
const closeGraceMs = 5_000;

const planOf = (request: ExecRequest, process: ProcessPlan): ProcessPlan => {
  const named = new Map(
    [...process.env, ...Object.entries(request.env ?? {}).map(([name, value]) => `${name}=${value}`)].map((entry) => [
      entry.slice(0, entry.indexOf("=")),
      entry,
    ]),
  );
  if (request.tty && !named.has("TERM")) named.set("TERM", defaultTerminal);
  return {
    ...process,
    args: request.command,
    env: [...named.values()],
    cwd: request.workingDir ?? process.cwd,
    user: request.user ?? process.user,
  };
};

const pipeEnd = (fd: number, direction: { readable: boolean; writable: boolean }): Socket => {
  const socket = new Socket({ fd, ...direction, allowHalfOpen: true });
  // The other end is a program that may end at any time; its end is what counts, and `ended` reports it.
  socket.on("error", () => socket.destroy());
  return socket;
};

const sessionOf = (started: ExecStarted): ExecSession => {
  const duplex = started.stdin === started.stdout;
  const stdout = pipeEnd(started.stdout, { readable: true, writable: duplex });
  const stdin = duplex ? stdout : pipeEnd(started.stdin, { readable: false, writable: true });
  const stderr = started.stderr === null ? null : pipeEnd(started.stderr, { readable: true, writable: false });
  return {
    stdin,
    stdout,
    stderr,
    ended: started.exited.then(({ exitCode, signal }) => ({ exitCode, signal })),
    resize: (rows, columns) => started.resize(rows, columns),
    signal: (signal) => started.signal(signal),
    close: () => {
      // Before its input ends: a command that copies it would else take the end for a good one.
      started.signal(hangUp);
      const kill = setTimeout(() => started.signal(sigkill), closeGraceMs);
      started.exited.catch(() => undefined).finally(() => clearTimeout(kill));
      started[Symbol.dispose]();
      for (const stream of new Set([stdin, stdout, stderr])) stream?.destroy();
    },
  };
};

/**
 * Runs a command inside an instance, with the instance's own confinement. Rejects EXEC_FAILED when the command cannot
 * be started, STATE_CONFLICT when the instance has ended.
 */
export const openExec = async (request: ExecRequest, context: ExecContext): Promise<ExecSession> => {
  const plan = planOf(request, context.process);
  try {
    const started = await exec({
      spec: { process: { ...ociProcess(plan, context), terminal: request.tty } },
      target: context.init,
      cgroup: context.cgroup,
      seccomp: defaultSeccomp(context.options?.capabilities ?? defaultCapabilities),
      imageUser: plan.user,
      ...confinementOf(context.options),
      stdio: request.tty ? "pty" : "pipes",
      ...(request.rows === undefined || request.columns === undefined
        ? {}
        : { consoleSize: { rows: request.rows, columns: request.columns } }),
    });
    return sessionOf(started);
  } catch (cause) {
    if (cause instanceof NativeError && cause.code === "ESRCH") {
      throw fleetError("STATE_CONFLICT", "the instance has ended", { cause });
    }
    throw fleetError("EXEC_FAILED", startFailure(cause, plan).message, { cause });
  }
};
