import type { JailedFile, JailedProgram } from "@bulkhead/node";
import type { Socket } from "node:net";
import type { MachineEngine, MachineMemoryPolicy, MonitorOverhead } from "@bulkhead/contracts";
import type { SharedDirectory } from "../shared-directories.ts";

/** What a machine begins with: a kernel, or the state and the memory of one that ran. */
export type MachineOrigin =
  | { readonly kernel: string; readonly initramfs: string }
  | { readonly state: string; readonly memory: string };

/** What a machine is made of. Files are on the host. */
export interface MachinePlan {
  readonly cpus: number;
  readonly memoryMib: number;
  /** CPUs of the host that are its own, one or more for each of its processors; empty: shared ones */
  readonly cpuIds: readonly number[];
  readonly memoryPolicy: MachineMemoryPolicy;
  /** its memory is made of pages of 2 MiB */
  readonly hugepages: boolean;
  /** how often the host's time stamp counter counts, in kHz; null: not known */
  readonly tscKhz: number | null;
  readonly origin: MachineOrigin;
  /** disks by the serial number that the guest looks for; read-only ones may be shared */
  readonly disks: Readonly<Record<"image" | "scratch" | "settings" | "report", string>>;
  /** its network card, at the descriptor `cardDescriptor`; null: none */
  readonly card: { readonly mac: string; readonly mtu: number } | null;
  /** directory for the sockets that the machine listens at; the monitor's own */
  readonly ports: string;
  /** directories of the host that it sees, in its program's root */
  readonly shared: readonly SharedDirectory[];
}

/** How a machine went down, as far as its monitor knows. */
export type MachineOutcome =
  | "powered-off"
  | "reset"
  | "triple-fault"
  | "kernel-panic"
  | "instruction-not-emulated"
  | "cpu-failed"
  | "image-lost"
  | "not-started";

/** How a machine is made to stand still, between two instructions of its own; `ports` is where its monitor listens. */
export interface Standstill {
  begin(ports: string): Promise<void>;
  /** Makes both files of a machine that has so much memory. Rejects RUNTIME_FAILED, with none of them there. */
  save(ports: string, files: { readonly state: string; readonly memory: string }, memoryMib: number): Promise<void>;
  /** Also of one that goes. */
  end(ports: string): Promise<void>;
}

/** A program that runs machines. What it prints is the instance's log. */
export interface Engine {
  readonly name: MachineEngine;
  /** what its monitors may use beside what their guests have */
  readonly overhead: MonitorOverhead;
  /** It can keep a machine's memory in RAM and make it of large pages, and each processor on a CPU of its own. */
  readonly holdsPlaces: boolean;
  /** It can let a machine see directories of the host. */
  readonly holdsShares: boolean;
  /** Makes its root file system ready; answers the directories, TOPMOST FIRST. Rejects SETUP_FAILED. */
  prepare(signal: AbortSignal): Promise<readonly string[]>;
  program(root: readonly string[], plan: MachinePlan): JailedProgram;
  /** Opens a connection to the agent inside a machine whose sockets are in `ports`. */
  connect(ports: string): Promise<Socket>;
  /** null: the code says nothing of the machine */
  outcomeOf(exitCode: number): MachineOutcome | null;
  /** null: its machines cannot be taken to files, nor begin with some */
  readonly standstill: Standstill | null;
}

/** What every engine's program sees: the same names, whatever the files are called on the host. */
export const machineFiles = ({ origin, disks, ports }: MachinePlan): JailedFile[] => [
  ...Object.entries(origin).map(([name, hostPath]) => ({ hostPath, path: `/machine/${name}`, writable: false })),
  { hostPath: disks.image, path: "/machine/image", writable: false },
  { hostPath: disks.scratch, path: "/machine/scratch", writable: true },
  { hostPath: disks.settings, path: "/machine/settings", writable: false },
  { hostPath: disks.report, path: "/machine/report", writable: true },
  { hostPath: ports, path: "/machine/ports", writable: true },
];

/**
 * What the guest's kernel is told by every engine. Its messages go to the serial port, which is the instance's error
 * output, and only the worst of them: a panic ends the machine at once, and its words are all that is known of why.
 */
export const kernelWords = ["console=ttyS0", "quiet", "loglevel=1", "panic=-1"] as const;
