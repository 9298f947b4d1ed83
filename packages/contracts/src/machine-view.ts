import { Type, type Static } from "typebox";

const closed = { additionalProperties: false } as const;

const Uses = Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], {
  description: "since the machine began; null: nobody counts them, and `uncounted` says why",
});

export const channelKinds = ["port", "registers", "doorbell", "interrupt", "hypercall", "socket"] as const;

/** One way in which a machine's guest and its host reach each other. */
export const MachineChannel = Type.Object(
  {
    kind: Type.Enum(channelKinds, {
      description:
        "port: x86 input and output; registers: memory of a device; doorbell: a queue is told of work, without leaving " +
        "the guest where the kernel takes it; interrupt: the other way; hypercall: answered by the host's kernel; socket: " +
        "connections to the sockets of a share, which the host's agent carries and has counted since it started",
    }),
    name: Type.String({ description: "device that is there" }),
    at: Type.Union([Type.String(), Type.Null()], {
      description:
        "first and last address, in hexadecimal, or the directory of a share; null: it has none, or nobody tells",
    }),
    queues: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], { description: "of a virtio device" }),
    uses: Uses,
  },
  closed,
);
export type MachineChannel = Static<typeof MachineChannel>;

/** A file or other object of the host that the monitor has open: what a guest reaches that took its monitor over. */
export const MachineFile = Type.Object(
  {
    target: Type.String({ description: "as the kernel names it, in the monitor's own root" }),
    mode: Type.Union([Type.Literal("r"), Type.Literal("w"), Type.Literal("rw")]),
    count: Type.Integer({ description: "descriptors of it" }),
  },
  closed,
);
export type MachineFile = Static<typeof MachineFile>;

/** System calls that one kind of the monitor's threads may make. */
export const MachineThreads = Type.Object(
  {
    kind: Type.String({ description: "processor: runs the guest; loop: moves data; loader: reads its kernel" }),
    count: Type.Integer({ description: "threads of it" }),
    calls: Type.Array(Type.String()),
  },
  closed,
);
export type MachineThreads = Static<typeof MachineThreads>;

/** Every channel between a virtual machine and its host. The rest of a view is its monitor's own. */
export const MachineView = Type.Object(
  {
    engine: Type.String({ description: "program that runs the machine" }),
    channels: Type.Array(MachineChannel),
    exits: Type.Union(
      [
        Type.Object(
          {
            portReads: Type.Integer(),
            portWrites: Type.Integer(),
            memoryReads: Type.Integer(),
            memoryWrites: Type.Integer(),
            unclaimed: Type.Integer({ description: "accesses to places where nothing is" }),
          },
          { ...closed, description: "times that the guest was left for the monitor" },
        ),
        Type.Null(),
      ],
      { description: "null: nobody counts them, and `uncounted` says why" },
    ),
    threads: Type.Array(MachineThreads, {
      description: "by kind, where kinds may do different things; empty: all may do what `seccomp` says",
    }),
    files: Type.Array(MachineFile),
    systemCalls: Type.Object(
      {
        reads: Type.Integer({ description: "calls that read, as the kernel counts them for a process" }),
        writes: Type.Integer({ description: "calls that write" }),
      },
      { ...closed, description: "uses of the monitor's system calls, as far as a kernel counts them" },
    ),
    uncounted: Type.Array(Type.String(), { description: "what has no count, and why" }),
  },
  closed,
);
export type MachineView = Static<typeof MachineView>;
