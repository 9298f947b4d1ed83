import { addon } from "./addon.ts";
import { NativeError, unwrap } from "./error.ts";
import type { OciProcess, OciSeccomp } from "./oci.ts";
import type { CgroupPlacement } from "./plan.ts";
import { sendSignal } from "./processes.ts";
import type { ExitRecord, ProcessRef } from "./records.ts";
import { Shim } from "./shim.ts";

export interface ExecInput {
  spec: { process: OciProcess };
  /** The container's init. */
  target: ProcessRef;
  cgroup: CgroupPlacement;
  seccomp?: OciSeccomp;
  /** As the container's own (PlanInput): a process that joins is not held by what was asked for the first. */
  writable?: readonly string[];
  imageUser?: string;
  stdio: "pipes" | "pty";
  consoleSize?: { rows: number; columns: number };
}

export interface ExecStarted {
  shim: ProcessRef;
  process: ProcessRef;
  /** "pipes": our ends of stdin, stdout and stderr; "pty": the same duplex stream as stdin and stdout. All nonblocking. */
  stdin: number;
  stdout: number;
  stderr: number | null;
  /** Rejects with NativeError step "shim" when the shim itself was killed. */
  exited: Promise<ExitRecord>;
  resize(rows: number, columns: number): void;
  signal(signal: number): void;
  /** Gives up: the process gets SIGHUP. The descriptors above stay the caller's to close. */
  [Symbol.dispose](): void;
}

const ECONNRESET = 104;

interface Ends {
  ours: { stdin: number; stdout: number; stderr: number | null };
  theirs: readonly [number, number, number];
  relay: number | null;
  all: number[];
}

/** Runs a process in a container: its namespaces, its cgroups, the same restrictions. Rejects with NativeError. */
export async function exec(input: ExecInput): Promise<ExecStarted> {
  const plan = unwrap(addon.compile("exec", JSON.stringify(input)));
  const ends = openEnds(input.stdio);
  let shim: Shim | undefined;
  try {
    shim = new Shim({ mode: "exec", stdio: ends.theirs, relay: ends.relay });
    // Its ends stay open until it has them: until then they may be handed over anew.
    shim.begin(plan.bytes);
  } catch (error) {
    shim?.close();
    for (const fd of ends.all) addon.closeFd(fd);
    throw error;
  }
  const mine = new Set([ends.ours.stdin, ends.ours.stdout, ends.ours.stderr]);
  for (const fd of ends.all) if (!mine.has(fd)) addon.closeFd(fd);
  try {
    const report = await shim.next();
    if (report === null || report.kind !== "started") throw ended();
    const exited = untilExit(shim);
    // Whoever does not wait for the end must not bring the process down by a rejection.
    exited.catch(() => {});
    return {
      shim: report.shim,
      process: report.process,
      ...ends.ours,
      exited,
      resize: (rows, columns) => shim.resize(rows, columns),
      signal: (signal) => void sendSignal(report.process, signal),
      [Symbol.dispose]: () => shim.hangUp(),
    };
  } catch (error) {
    shim.close();
    for (const fd of mine) if (fd !== null) addon.closeFd(fd);
    throw error;
  }
}

async function untilExit(shim: Shim): Promise<ExitRecord> {
  try {
    const report = await shim.next();
    if (report === null || report.kind !== "exited") throw ended();
    const { kind: _kind, ...record } = report;
    return record;
  } finally {
    shim.close();
  }
}

function ended(): NativeError {
  return new NativeError({ ok: false, step: "shim", op: "ended without a report", errno: ECONNRESET, path: "" });
}

function openEnds(stdio: "pipes" | "pty"): Ends {
  const all: number[] = [];
  const pair = (kind: "pipe" | "stream"): [number, number] => {
    const fds = unwrap(addon.makePair(kind));
    all.push(...fds);
    return fds;
  };
  try {
    if (stdio === "pty") {
      const [ours, relay] = pair("stream");
      unwrap(addon.setNonblocking(ours));
      return { ours: { stdin: ours, stdout: ours, stderr: null }, theirs: [-1, -1, -1], relay, all };
    }
    const [inputRead, inputWrite] = pair("pipe");
    const [outputRead, outputWrite] = pair("pipe");
    const [errorRead, errorWrite] = pair("pipe");
    for (const fd of [inputWrite, outputRead, errorRead]) unwrap(addon.setNonblocking(fd));
    return {
      ours: { stdin: inputWrite, stdout: outputRead, stderr: errorRead },
      theirs: [inputRead, outputWrite, errorWrite],
      relay: null,
      all,
    };
  } catch (error) {
    for (const fd of all) addon.closeFd(fd);
    throw error;
  }
}
