import { Type, type Static } from "typebox";
import { HostId, SnapshotId } from "./ids.ts";

const closed = { additionalProperties: false } as const;

/** Programs that run virtual machines: our own monitor on the host's KVM, and QEMU, which emulates processors. */
export const machineEngines = ["kvm", "qemu"] as const;
export const MachineEngine = Type.Enum(machineEngines);
export type MachineEngine = (typeof machineEngines)[number];

export const machineMemoryPolicies = ["normal", "locked"] as const;
export type MachineMemoryPolicy = (typeof machineMemoryPolicies)[number];

/** Settings that only VMs have; refused when isolation is container. */
export const VmOptions = Type.Object(
  {
    engine: Type.Optional(
      Type.Enum(machineEngines, { description: "what runs the machine; default: the best that its host has" }),
    ),
    kernel: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 128,
        description:
          "name or digest of a kernel of the project, kept as its digest; default: the project's default kernel, or Debian's own for virtual machines, which hosts fetch themselves",
      }),
    ),
    memoryPolicy: Type.Optional(
      Type.Enum(machineMemoryPolicies, {
        default: "normal",
        description: "locked: all of its memory is in RAM before it starts, and stays there",
      }),
    ),
    hugepages: Type.Optional(
      Type.Boolean({ default: false, description: "its memory is made of the host's reserved pages of 2 MiB" }),
    ),
    restoredFrom: Type.Optional(
      Type.Object(
        { snapshotId: SnapshotId, hostId: HostId },
        {
          ...closed,
          description:
            "its instances begin as copies of this snapshot, on its host; set by restoring one and refused in what is declared",
        },
      ),
    ),
  },
  closed,
);
export type VmOptions = Static<typeof VmOptions>;

/** What runs an instance that is a virtual machine, as its host's agent started it. */
export const InstanceMachine = Type.Object(
  {
    engine: MachineEngine,
    kernel: Type.Union([Type.String({ maxLength: 255 }), Type.Null()], {
      description: "as `uname -r` says it inside; null when an agent started it that did not keep it",
    }),
    cpus: Type.Integer({ minimum: 1, description: "its processors" }),
    cpuIds: Type.Array(Type.Integer({ minimum: 0 }), {
      description: "CPUs of its host that are its own; empty: it shares them",
    }),
    pinned: Type.Boolean({ description: "each of its processors has one of those for itself" }),
    monitorApart: Type.Optional(
      Type.Boolean({
        description:
          "of one that is pinned: its monitor's other threads run on CPUs that nobody has for itself; false: when it was started its host had none left, and they run on its own",
      }),
    ),
    memoryPolicy: Type.Enum(machineMemoryPolicies),
    hugepages: Type.Boolean(),
  },
  { ...closed, description: "what runs it, when it is a virtual machine" },
);
export type InstanceMachine = Static<typeof InstanceMachine>;

const mebibyte = 2 ** 20;

/** An engine of a host, with what its monitors use beside their guests; placement counts it. */
export const HostEngine = Type.Object(
  {
    name: MachineEngine,
    overheadBytes: Type.Integer({
      minimum: 0,
      maximum: 2 ** 40,
      description: "memory of a monitor beside its guest's",
    }),
    overheadBytesPerMib: Type.Integer({
      minimum: 0,
      maximum: mebibyte,
      description: "and for each MiB of that: what maps it",
    }),
    emulatorMillis: Type.Integer({
      minimum: 0,
      maximum: 1_000_000,
      description: "CPU of a monitor beside its guest's processors",
    }),
  },
  closed,
);
export type HostEngine = Static<typeof HostEngine>;
export type MonitorOverhead = Omit<HostEngine, "name">;

/** A machine's memory is whole large pages of 2 MiB, of which processors like their tables to be made. */
export const guestMemoryBytes = (memoryBytes: number): number =>
  2 * mebibyte * Math.floor(memoryBytes / (2 * mebibyte));

/** All that a machine with this much memory takes of its host: what its monitor's limit is, and what placement counts. */
export const machineMemoryBytes = (guestBytes: number, overhead: MonitorOverhead): number =>
  guestBytes + overhead.overheadBytes + overhead.overheadBytesPerMib * (guestBytes / mebibyte);

/** How a host runs virtual machines. */
export const HostMachines = Type.Object(
  {
    engine: Type.Union([MachineEngine, Type.Null()], { description: "what runs a machine that asks for none" }),
    engines: Type.Array(HostEngine, { description: "what it can run, the best first" }),
    kvm: Type.Union([Type.Literal("kvm"), Type.Literal("kvm-emulated"), Type.Literal("none")], {
      description: "found by running a small guest; kvm-emulated runs no distribution's kernel",
    }),
    reason: Type.String(),
  },
  { ...closed, description: "how the host runs virtual machines" },
);
export type HostMachines = Static<typeof HostMachines>;
