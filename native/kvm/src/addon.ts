// The native module as it is; everything else in this folder gives it a shape for people.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** How a machine went down. */
export interface MachineEnd {
  readonly outcome:
    | "powered-off"
    | "reset"
    | "triple-fault"
    | "instruction-not-emulated"
    | "cpu-failed"
    | "stopped"
    | "kernel-panic";
  /** of an instruction that was not emulated KVM's suberror, of a failed processor the hardware's reason or errno */
  readonly detail: number;
}

/** Exits of the guest to the monitor, by what it did. Those that KVM answers itself are not among them. */
export interface ExitCounts {
  readonly portReads: number;
  readonly portWrites: number;
  readonly memoryReads: number;
  readonly memoryWrites: number;
  /** of all, those to addresses where there is no device */
  readonly unclaimed: number;
}

/** A step of a machine's start. */
export interface Phase {
  readonly name: string;
  /** CLOCK_MONOTONIC when it began, in nanoseconds */
  readonly beganNs: number;
}

export interface NativeMachine {
  run(): Promise<MachineEnd>;
  stop(): void;
  pause(): void;
  resume(): void;
  exits(): ExitCounts;
  phases(): Phase[];
}

/** What a host's KVM can do. */
export interface SelfTest {
  /** `kvm`: runs unmodified kernels; `kvm-emulated`: runs small guests of ours; `none`: runs nothing */
  readonly level: "kvm" | "kvm-emulated" | "none";
  readonly reason: string;
  readonly virtualization: boolean;
  /** of kernel code, exits included; 0 when it did not get that far */
  readonly picosecondsPerInstruction: number;
  readonly tscKhz: number;
}

interface Addon {
  probe(device: string): Readonly<Record<string, number>>;
  selfTest(device: string): Promise<SelfTest>;
  runOn(tid: number, cpus: readonly number[]): void;
  nextData(descriptor: number, offset: number): [from: number, to: number] | undefined;
  readonly Machine: new (words: readonly string[]) => NativeMachine;
}

const path = fileURLToPath(new URL("../build/kvm.node", import.meta.url));

export const addon = createRequire(import.meta.url)(path) as Addon;
