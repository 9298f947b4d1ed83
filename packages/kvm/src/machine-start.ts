import { mkdir, rm, writeFile } from "node:fs/promises";
import type { Assignment } from "@bulkhead/contracts";
import { processFailure, StartFailure, type JailedRun, type LogLine, type ProcessPlan } from "@bulkhead/node";
import { ensureScratchDisk, makeSmallDisk } from "./disk/scratch-disk.ts";
import { errnoName } from "./guest/exec.ts";
import type { GuestReport } from "./guest/report.ts";
import { encodeSettings } from "./guest/settings.ts";
import type { MachinePaths } from "./machine-paths.ts";
import { firstReport } from "./report-watch.ts";
import { sharedDirectories, sharedSockets } from "./shared-directories.ts";

/** Size of an instance's writable disk, in bytes; sparse. */
const scratchBytes = 16 * 2 ** 30;
/** How long a machine may take until its program runs, in milliseconds: emulation on a busy host is slow. */
const bootMs = 180_000;
const defaultPidsMax = 1024;

/** The directory of a run that begins, without anything of an earlier try. */
export const makeRunDirectory = async (paths: MachinePaths): Promise<void> => {
  await rm(paths.run, { recursive: true, force: true });
  await mkdir(paths.ports, { recursive: true, mode: 0o700 });
};

/** The disks of a machine that boots. */
export const makeFiles = async (paths: MachinePaths, assignment: Assignment, process: ProcessPlan): Promise<void> => {
  const { spec, name, network } = assignment;
  await makeRunDirectory(paths);
  // The monitor's user passes through to its files, which are opened by name in its own root only.
  await ensureScratchDisk(paths.scratch, spec.resources.diskBytes ?? scratchBytes);
  await makeSmallDisk(paths.report);
  const settings = encodeSettings({
    process,
    hostname: name,
    network,
    pidsMax: spec.resources.pidsMax ?? defaultPidsMax,
    tmpfs: spec.tmpfs ?? [],
    shared: sharedDirectories(assignment),
    sockets: sharedSockets(assignment),
  });
  await writeFile(paths.settings, settings, { mode: 0o644 });
};

/** What a promise has come to by now, without waiting for it; null while it has not. */
const settled = async <T>(promise: Promise<T>): Promise<T | null> => Promise.race([promise, Promise.resolve(null)]);

/** Why a guest that gave up did. */
export const failedIn = (report: Extract<GuestReport, { state: "failed" }>, process: ProcessPlan): StartFailure => {
  const code = errnoName(report.errno);
  const known = processFailure({ step: report.step, code }, process);
  const detail = known?.detail ?? `the guest could not start it (${report.step} ${report.path}: ${code})`;
  return new StartFailure(known?.reason ?? "RuntimeFailed", detail);
};

/** A monitor that runs, and what is known of its machine. */
export interface BegunMachine {
  readonly jailed: JailedRun;
  readonly paths: MachinePaths;
  readonly process: ProcessPlan;
  /** the end of its log, for an error's detail */
  readonly lastWords: () => Promise<string>;
}

/** What a guest wrote goes to terminals: without what would move their cursors, and the end of a line. */
const shown = ({ text }: LogLine): string =>
  Buffer.from(text)
    .toString()
    .trimEnd()
    .replaceAll(/\p{Cc}/gu, "?");

/** The end of a log, for an error's detail; nothing when it cannot be read. */
export const wordsOf = async (log: AsyncIterable<LogLine>): Promise<string> => {
  const lines = await Array.fromAsync(log).catch(() => []);
  return lines.length === 0 ? "" : `: ${lines.map(shown).join(" / ")}`;
};

/** Resolves when the guest says that its program runs, or that it ran; rejects StartFailure. */
export const awaitProgram = async (machine: BegunMachine, signal: AbortSignal): Promise<void> => {
  const { jailed, paths, process, lastWords } = machine;
  const given = new AbortController();
  const late = AbortSignal.timeout(bootMs);
  const watching = firstReport(paths.report, AbortSignal.any([signal, given.signal, late]));
  const gone = jailed.ended.then(() => null);
  try {
    const report = (await Promise.race([watching, gone])) ?? (await settled(watching));
    if (report?.state === "running" || report?.state === "ended") return;
    if (report === null) {
      const { detail } = await jailed.ended;
      const what = await lastWords();
      throw new StartFailure("RuntimeFailed", `the machine ended before its program ran (${detail ?? ""})${what}`);
    }
    throw failedIn(report, process);
  } catch (cause) {
    if (late.aborted) {
      throw new StartFailure("RuntimeFailed", `the program did not run within ${bootMs / 1000} s of the boot`, cause);
    }
    throw cause instanceof StartFailure ? cause : new StartFailure("RuntimeFailed", "the start was abandoned", cause);
  } finally {
    given.abort();
    watching.catch(() => undefined);
  }
};
