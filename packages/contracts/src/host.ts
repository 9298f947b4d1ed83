import { Type, type Static } from "typebox";
import { ClusterId, HostId, InstanceId, integerMax, Isolation, Labels, Timestamp } from "./ids.ts";
import { HostMachines } from "./machine.ts";

const closed = { additionalProperties: false } as const;

/** What a host can give to instances, after its own reserve. */
export const Capacity = Type.Object(
  {
    cpuMillis: Type.Integer({ minimum: 0, maximum: integerMax }),
    memoryBytes: Type.Integer({ minimum: 0, maximum: 2 ** 52 }),
    cpuCount: Type.Integer({ minimum: 1, maximum: integerMax }),
    instancesMax: Type.Integer({ minimum: 0, maximum: integerMax }),
  },
  closed,
);
export type Capacity = Static<typeof Capacity>;

/** The file system of an agent's state. */
export const HostDisk = Type.Object(
  {
    totalBytes: Type.Integer({ minimum: 0 }),
    snapshotBytes: Type.Integer({ minimum: 0, description: "of them, what snapshots take" }),
    freeBytes: Type.Optional(
      Type.Integer({ minimum: 0, description: "what can still be written, rounded down so that it changes seldom" }),
    ),
  },
  closed,
);
export type HostDisk = Static<typeof HostDisk>;

/** What one agent found out about its host by asking the kernel. */
export const HostFacts = Type.Object(
  {
    hostname: Type.String(),
    kernel: Type.String(),
    architecture: Type.String(),
    cgroupMode: Type.Union([Type.Literal("v1"), Type.Literal("hybrid"), Type.Literal("v2")]),
    capacity: Capacity,
    enforceable: Type.Array(Type.String(), {
      description: "spec fields this host can enforce; a workload using another is placed elsewhere",
    }),
    mountAllowList: Type.Array(Type.String(), {
      description: "host directories below which mounts are allowed, from the agent's local configuration",
    }),
    hostNetwork: Type.Optional(
      Type.Boolean({ description: "its own configuration lets instances have the host's network" }),
    ),
    machines: Type.Optional(HostMachines),
    disk: Type.Optional(HostDisk),
    problems: Type.Array(Type.String()),
  },
  closed,
);
export type HostFacts = Static<typeof HostFacts>;

export const hostStates = ["ready", "suspect", "unknown"] as const;
export const HostState = Type.Enum(hostStates);
export type HostState = (typeof hostStates)[number];

export const Host = Type.Object(
  {
    id: HostId,
    name: Type.String(),
    state: HostState,
    labels: Labels,
    cordoned: Type.Boolean(),
    agents: Type.Array(
      Type.Object(
        { isolation: Isolation, state: HostState, lastSeenAt: Type.Union([Timestamp, Type.Null()]), facts: HostFacts },
        closed,
      ),
    ),
    allocated: Type.Object(
      { cpuMillis: Type.Integer(), memoryBytes: Type.Integer(), instances: Type.Integer() },
      closed,
    ),
    unknownInstances: Type.Array(
      Type.Object({ instanceId: InstanceId, name: Type.String(), isolation: Isolation }, closed),
      { description: "running there, unknown to this control plane; kept until someone decides" },
    ),
    foreignClusterId: Type.Union([ClusterId, Type.Null()], {
      description: "set while the host obeys another control plane",
    }),
    version: Type.Integer(),
  },
  { ...closed, $id: "Host" },
);
export type Host = Static<typeof Host>;

/** A machine asks to become a host. The answer is its whole credential. */
export const JoinHost = Type.Object(
  {
    hostId: HostId,
    name: Type.String({ minLength: 1, maxLength: 255 }),
    isolation: Isolation,
    publicKey: Type.String({
      pattern: "^U[A-Z2-7]{55}$",
      description: "NATS user nkey made by the host; its seed never leaves it",
    }),
    labels: Type.Optional(Labels),
    facts: HostFacts,
  },
  { ...closed, $id: "JoinHost" },
);
export type JoinHost = Static<typeof JoinHost>;

export const HostCredential = Type.Object(
  {
    clusterId: ClusterId,
    natsUrl: Type.String(),
    natsJwt: Type.String({ description: "user JWT limited to this host's and kind's subjects" }),
    httpToken: Type.String({ description: "bearer token for /v2 and byte streams" }),
  },
  { ...closed, $id: "HostCredential" },
);
export type HostCredential = Static<typeof HostCredential>;
