import type { AssignedShare, Digest } from "@bulkhead/contracts";
import type { Run, Runtime, StartRequest } from "./runtime.ts";

/** A host file or directory that a jailed program sees. What it may write is made its own. */
export interface JailedFile {
  readonly hostPath: string;
  readonly path: string;
  readonly writable: boolean;
}

/** A character device that a jailed program may open, for reading and writing. */
export interface JailedDevice {
  readonly path: string;
  readonly major: number;
  readonly minor: number;
}

/** A program of ours that stands between an instance and the host: the monitor of a virtual machine. */
export interface JailedProgram {
  /** read-only directories that make its root, TOPMOST FIRST */
  readonly root: readonly string[];
  readonly args: readonly string[];
  readonly files: readonly JailedFile[];
  readonly devices: readonly JailedDevice[];
  /** memory that it may keep from being swapped, in bytes; the host's limit without it */
  readonly lockedBytes?: number;
  /** system calls that it makes beside those of every container */
  readonly systemCalls?: readonly string[];
  /** that it has in its own user namespace, until it gives them up; none without it */
  readonly capabilities?: readonly string[];
  /** where its instance has CPUs of its own, it may use the shared ones too, for threads that are not the instance's */
  readonly sharesCpus?: boolean;
  /** its threads may have a working directory and a umask of their own, which takes no privilege */
  readonly ownFileState?: boolean;
}

/**
 * Where a program finds its network card when its assignment has a network: a tap device's descriptor, with
 * IFF_VNET_HDR. It has nothing else above standard error, and its own network namespace stays empty.
 */
export const cardDescriptor = 3;

/** `assignment` names the program's own limits, network and CPUs; its image and command are not looked at. */
export interface JailRequest extends StartRequest {
  readonly program: JailedProgram;
}

/** A process that a jailed program started. Disposing it stops waiting for its end. */
export interface JailedProcess extends Disposable {
  readonly pid: number;
  readonly ended: Promise<void>;
  /** Nothing happens to one that has ended, or to another with its number. */
  kill(): void;
}

/** CPUs that a jailed program may use besides those of its instance. */
export interface SharedCpus {
  /** none where its host has no other, or it did not ask */
  readonly cpus: readonly number[];
  /** number of the host's change that gave them: at each, the kernel may have let threads stray */
  readonly change: number;
  /** false while the kernel is being told of that change */
  readonly settled: boolean;
}

/** A jailed program that runs, or ran. */
export interface JailedRun extends Run {
  /** of the program, as the host numbers processes; null when it has ended */
  readonly pid: number | null;
  /** Its processes beside the program's own, as they are now. */
  others(): JailedProcess[];
  /** the numbers of all its processes, its own among them, as they are now */
  processes(): readonly number[];
  sharedCpus(): SharedCpus;
  /** called when those have changed and the kernel has them; its user sets it */
  onCpusChanged: (() => void) | null;
}

/**
 * Runs a program in place of an instance's own: namespaces, a cgroup, an unprivileged range of ids, no capability, a root
 * of only its files, and a guardian that keeps its log, its lease and its end. What it runs is a `Run` like any other.
 */
export interface Jail extends Pick<Runtime, "facts" | "logs" | "removeShare" | "remove" | typeof Symbol.asyncDispose> {
  list(): Promise<JailedRun[]>;
  /** Where on the host the files of a share lie that one of its runs uses; only root can change what leads there. */
  shareDirectory(share: AssignedShare): string;
  /** Images of all instances of this host. */
  imagesInUse(): Promise<ReadonlySet<Digest>>;
  /** Resolves when the program runs; rejects StartFailure with everything undone. */
  confine(request: JailRequest, signal: AbortSignal): Promise<JailedRun>;
}
