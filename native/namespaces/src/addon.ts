// The native module as it is; everything else in this folder gives it a shape for people.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type { NativeResult } from "./error.ts";
import type { ExitRecord, ProcessRef } from "./records.ts";

export interface TimedStep {
  name: string;
  /** CLOCK_MONOTONIC when the step began. */
  atNs: number;
  inChild: boolean;
}

export type Report =
  | { kind: "started"; shim: ProcessRef; process: ProcessRef; startedAtUnixMs: number; timings?: TimedStep[] }
  | { kind: "network"; pid: number }
  | ({ kind: "exited" } & ExitRecord);

/** Calls back whenever the descriptor is readable ("read") or has a priority event. Keeps the loop alive until closed. */
export interface FdWatch {
  close(): void;
  unref(): void;
}

export interface Stalls {
  someAvg10Percent: number;
  someTotalUs: number;
  fullAvg10Percent: number;
  fullTotalUs: number;
}

export interface Usage {
  cpuUsageNs: number;
  throttledNs: number;
  throttledPeriods: number;
  memoryBytes: number;
  memoryPeakBytes: number;
  memoryLimitBytes: number | null;
  pids: number;
  oomKills: number;
  ioReadBytes: number;
  ioWriteBytes: number;
  ioReadOps: number;
  ioWriteOps: number;
  /** of the unified tree's cgroup; absent where the kernel counts none */
  pressure?: { cpu: Stalls; memory: Stalls; io: Stalls };
}

export interface Limits {
  cpuQuotaUs: number | null;
  cpuPeriodUs: number;
  cpuWeightOrShares: number | null;
  memoryLimitBytes: number | null;
  pidsMax: number | null;
  cpusetCpus: string | null;
}

/** Where an instance's threads may run, against the CPUs it was given. */
export interface ThreadAffinity {
  threads: number;
  /** of them, how many may run elsewhere */
  straying: number;
  /** where those may run besides */
  cpus: readonly number[];
}

export interface HostFeatures {
  cgroupMode: "v1" | "hybrid" | "v2";
  /** controller -> mount point */
  cgroupMounts: Readonly<Record<string, string>>;
  kernel: string;
  idmappedMounts: boolean;
  overlayLowerdirFd: boolean;
  userNamespaces: boolean;
  seccomp: boolean;
  /** Landlock that can say where a container writes */
  writeConfinement: boolean;
  /** What a person must change before containers can run as promised; empty on a good host. */
  problems: readonly string[];
}

type Paths = Readonly<Record<string, string>>;

interface Addon {
  compile(kind: "container" | "exec" | "birth", json: string): NativeResult<{ bytes: Uint8Array; warnings: string[] }>;
  /** Answers with the report socket of a shim that is on its way. `birth`: of a container's first process, or empty. */
  fork(
    initPath: string,
    mode: "container" | "exec",
    stdio: readonly [number, number, number],
    relay: number,
    birth: Uint8Array,
  ): NativeResult<number>;
  placeShims(cgroups: readonly string[]): void;
  /** Once for each fork, before its plan is handed over and anything else is received. */
  awaitFork(report: number): NativeResult<{ pid: number; pidfd: number }>;
  /** `descriptors`: of the plan's program; they stay the caller's. */
  handPlan(report: number, plan: Uint8Array, descriptors: readonly number[]): NativeResult<undefined>;
  /** Answers with the pidfd of a child that writes its answer to `output` and ends. */
  reach(path: string, verb: string, request: Uint8Array, output: number): NativeResult<number>;
  /** undefined: nothing there yet; null: end of file. */
  receive(report: number): NativeResult<Report | null | undefined>;
  resize(report: number, rows: number, columns: number): NativeResult<undefined>;
  hangUp(report: number): void;
  proceed(report: number): NativeResult<undefined>;
  reap(pidfd: number): boolean;
  closeFd(fd: number): void;
  openProcess(ref: ProcessRef): NativeResult<number | null>;
  signalProcess(pidfd: number, signal: number): NativeResult<boolean>;
  makePair(kind: "pipe" | "stream"): NativeResult<[number, number]>;
  setNonblocking(fd: number): NativeResult<undefined>;
  readonly FdWatch: new (fd: number, kind: "read" | "priority", ready: () => void) => FdWatch;
  applyResources(json: string): NativeResult<undefined>;
  requestFreeze(paths: Paths, freeze: boolean): NativeResult<undefined>;
  frozen(paths: Paths): NativeResult<boolean>;
  killAll(paths: Paths): NativeResult<undefined>;
  removeOnce(paths: Paths): NativeResult<boolean>;
  openEvents(paths: Paths): NativeResult<number>;
  readUsage(paths: Paths): Usage;
  readLimits(paths: Paths): Limits;
  readAffinity(paths: Paths, cpus: readonly number[]): NativeResult<ThreadAffinity>;
  probe(): HostFeatures;
  removeTree(path: string): NativeResult<undefined>;
  removeTrees(
    trees: readonly { path: string; kept: readonly string[] }[],
    done: (outcomes: NativeResult<undefined>[]) => void,
  ): void;
  spreadChildren(path: string): NativeResult<undefined>;
  ruleSocket(): NativeResult<number>;
  netRules(socket: number, json: string): Promise<NativeResult<undefined>>;
  netRoute(plans: { space: number; json: string }[][]): Promise<NativeResult<undefined>[]>;
  netLinks(space: number): Promise<NativeResult<NativeLink[]>>;
  netAddresses(space: number): Promise<NativeResult<{ index: number; prefix: number; bytes: Uint8Array }[]>>;
  netTables(): Promise<NativeResult<{ family: string; name: string }[]>>;
  netElements(family: string, table: string, set: string): Promise<NativeResult<Uint8Array[]>>;
  holdPort(protocol: "tcp" | "udp", address: string, port: number): NativeResult<number>;
  lockFile(path: string): Promise<NativeResult<number>>;
  openSpace(path: string): NativeResult<number>;
  openTap(name: string, index: number): NativeResult<number>;
}

export interface NativeLink {
  index: number;
  name: string;
  /** "bridge", "veth" …; empty for hardware */
  kind: string;
  group: number;
  /** index of the bridge it is a port of; 0: none */
  master: number;
  mtu: number;
  up: boolean;
  mac: Uint8Array;
}

const build = new URL("../build/", import.meta.url);

/** The executable that every start runs (a sealed copy of it, made once per process). */
export const initPath: string = fileURLToPath(new URL("bulkhead-init", build));

export const addon = createRequire(import.meta.url)(fileURLToPath(new URL("namespaces.node", build))) as Addon;
