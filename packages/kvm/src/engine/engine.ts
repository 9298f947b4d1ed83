import type { JailedFile, JailedProgram } from "@bulkhead/node";
import type { GuestPort } from "../guest/connection.ts";
import type { Socket } from "node:net";

/** What a machine is made of. Files are on the host. */
export interface MachinePlan {
  readonly cpus: number;
  readonly memoryMib: number;
  /** how often the host's time stamp counter counts, in kHz; null: not known */
  readonly tscKhz: number | null;
  readonly kernel: string;
  readonly initramfs: string;
  /** disks by the serial number that the guest looks for; read-only ones may be shared */
  readonly disks: Readonly<Record<"image" | "scratch" | "settings" | "report", string>>;
  /** its network card, at the descriptor `cardDescriptor`; null: none */
  readonly card: { readonly mac: string; readonly mtu: number } | null;
  /** directory for the sockets that the machine listens at; the monitor's own */
  readonly ports: string;
}

/** A program that runs machines. What it prints is the instance's log. */
export interface Engine {
  readonly name: "qemu";
  /** what it may use beside the guest's memory, in bytes */
  readonly overheadBytes: number;
  /** CPU that it may use beside what the guest's processors are, in thousandths of a CPU */
  readonly emulatorMillis: number;
  /** Makes its root file system ready; answers the directories, TOPMOST FIRST. Rejects SETUP_FAILED. */
  prepare(signal: AbortSignal): Promise<readonly string[]>;
  program(root: readonly string[], plan: MachinePlan): JailedProgram;
  /** Opens a connection to the agent inside a machine whose sockets are in `ports`. */
  connect(ports: string): Promise<Socket>;
}

/** What every engine's program sees: the same names, whatever the files are called on the host. */
export const machineFiles = ({ kernel, initramfs, disks, ports }: MachinePlan): JailedFile[] => [
  { hostPath: kernel, path: "/machine/kernel", writable: false },
  { hostPath: initramfs, path: "/machine/initramfs", writable: false },
  { hostPath: disks.image, path: "/machine/image", writable: false },
  { hostPath: disks.scratch, path: "/machine/scratch", writable: true },
  { hostPath: disks.settings, path: "/machine/settings", writable: false },
  { hostPath: disks.report, path: "/machine/report", writable: true },
  { hostPath: ports, path: "/machine/ports", writable: true },
];

/** Where the guest's agent is reached. */
export const agentPort = (directory: string): GuestPort => ({ directory, name: "agent" });

/**
 * What the guest's kernel is told. Its messages go to the serial port, which is the instance's error output, and only the
 * worst of them: a panic ends the machine at once, and is all that is known of its reason. A machine without a clock chip
 * measures its counter against a timer that a busy host delays, and may find none; the host knows it
 * (Linux, Documentation/admin-guide/kernel-parameters.txt, tsc_early_khz).
 */
export const commandLine = ({ tscKhz }: MachinePlan): string =>
  ["console=ttyS0 quiet loglevel=0 panic=-1 reboot=t", ...(tscKhz === null ? [] : [`tsc_early_khz=${tscKhz}`])].join(
    " ",
  );
