import { Type, type Static, type TSchema } from "typebox";
import { Bandwidth, NetworkChoice, PublishedPort } from "./network.ts";
import { Digest, Isolation, Labels, Name, Timestamp, WorkloadId } from "./ids.ts";
import { VmOptions } from "./machine.ts";
import { instanceSharesMax, ShareMount } from "./share.ts";

const closed = { additionalProperties: false } as const;

/** Smallest memory an instance can start in, in bytes; below it even a static program's set-up is killed. */
export const minimumMemoryBytes = 4 * 1024 * 1024;
/** Smallest memory of a VM, in bytes: Debian's kernel with its initramfs, and a small program. */
export const minimumMachineBytes = 96 * 1024 * 1024;
/** Smallest file system that an instance's root can be written to, in bytes: its tables and journal take 5 MiB of that. */
const minimumDiskBytes = 16 * 1024 * 1024;
/** Smallest CPU limit the kernel's CFS quota can express at its 100 ms period (1 ms), in thousandths of a CPU. */
export const minimumCpuMillis = 10;

/**
 * Longest specification, in bytes of JSON with every default filled in. Each of up to 10,000 instances carries it to its
 * host, and what is larger (data, files) belongs into the image or a share.
 */
export const specBytesMax = 64 * 1024;

/** Block I/O limits; bytes and operations per second, weight as in cgroup v2 `io.weight`. */
export const IoLimits = Type.Object(
  {
    readBytesPerSec: Type.Optional(Type.Integer({ minimum: 4096 })),
    writeBytesPerSec: Type.Optional(Type.Integer({ minimum: 4096 })),
    readOpsPerSec: Type.Optional(Type.Integer({ minimum: 1 })),
    writeOpsPerSec: Type.Optional(Type.Integer({ minimum: 1 })),
    weight: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
  },
  closed,
);

export const Resources = Type.Object(
  {
    cpuMillis: Type.Integer({
      minimum: minimumCpuMillis,
      maximum: 1_024_000,
      description: "CPU counted for placement, in thousandths of a CPU; the share under contention",
    }),
    cpuLimitMillis: Type.Optional(
      Type.Integer({
        minimum: minimumCpuMillis,
        maximum: 1_024_000,
        description: "hard CPU limit; without it only the share counts",
      }),
    ),
    cpuPolicy: Type.Optional(
      Type.Union([Type.Literal("shared"), Type.Literal("dedicated")], {
        default: "shared",
        description: "dedicated: whole CPUs of its own",
      }),
    ),
    memoryBytes: Type.Integer({
      minimum: minimumMemoryBytes,
      maximum: 2 ** 46,
      description: "hard memory limit, in bytes",
    }),
    memoryReservationBytes: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 46 })),
    pidsMax: Type.Optional(Type.Integer({ minimum: 2, maximum: 4_194_304, default: 1024 })),
    diskBytes: Type.Optional(
      Type.Integer({
        minimum: minimumDiskBytes,
        maximum: 2 ** 46,
        description:
          "size of the file system that it writes its root to, its tables included; fixed for its life (default: a container's is the host's, a VM's 16 GiB)",
      }),
    ),
    io: Type.Optional(IoLimits),
  },
  { ...closed, description: "limits and placement demand, the same meaning for containers and VMs" },
);
export type Resources = Static<typeof Resources>;

export const RestartPolicy = Type.Object(
  {
    policy: Type.Union([Type.Literal("always"), Type.Literal("on-failure"), Type.Literal("never")]),
    backoffMs: Type.Optional(
      Type.Integer({
        minimum: 100,
        maximum: 600_000,
        default: 1_000,
        description: "first delay; doubles up to 5 minutes",
      }),
    ),
    maxRestarts: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 1_000_000,
        description: "gives up after this many restarts of one assignment",
      }),
    ),
  },
  closed,
);
export type RestartPolicy = Static<typeof RestartPolicy>;

/** What a workload without `restart` gets: a workload is a service with replicas, so it is kept running. */
export const defaultRestartPolicy: RestartPolicy = { policy: "always", backoffMs: 1_000 };

/** A host directory shown inside the instance; the host's own allow-list decides whether it may be. */
export const BindMount = Type.Object(
  {
    hostPath: Type.String({ pattern: "^/", maxLength: 4096 }),
    path: Type.String({ pattern: "^/", maxLength: 4096, description: "where the instance sees it" }),
    readOnly: Type.Optional(Type.Boolean({ default: true })),
  },
  closed,
);
export type BindMount = Static<typeof BindMount>;

/** Shares and host directories together that one VM sees: each is a device of its machine. */
export const machineDirectoriesMax = 8;

/** A directory in memory that is the instance's alone and ends with each run; what it holds counts to `memoryBytes`. */
export const TemporaryDirectory = Type.Object(
  {
    path: Type.String({ pattern: "^/", maxLength: 4096, description: "where the instance sees it" }),
    sizeBytes: Type.Integer({ minimum: 4096, maximum: 2 ** 46, description: "most it can hold" }),
    mode: Type.Optional(Type.String({ pattern: "^[01]?[0-7]{3}$", default: "1777", description: "permissions" })),
    executable: Type.Optional(Type.Boolean({ default: false, description: "whether programs can be run from it" })),
  },
  closed,
);
export type TemporaryDirectory = Static<typeof TemporaryDirectory>;

/** Settings that only containers have; refused when isolation is vm. */
export const ContainerOptions = Type.Object(
  {
    capabilities: Type.Optional(
      Type.Array(Type.String({ pattern: "^CAP_[A-Z_]+$" }), { maxItems: 64, description: "replaces the default set" }),
    ),
    readOnlyRoot: Type.Optional(Type.Boolean({ default: false })),
    writable: Type.Optional(
      Type.Array(Type.String({ pattern: "^/", maxLength: 4096 }), {
        maxItems: 64,
        description:
          "the only places, beside /dev and /proc, where it changes files, whatever it is inside (Landlock); " +
          "it makes no mount either. Empty: nowhere. Left out: not confined",
      }),
    ),
  },
  closed,
);

const EnvironmentName = Type.String({ pattern: "^[A-Za-z_][A-Za-z0-9_]*$", maxLength: 255 });

const specFields = {
  isolation: Type.Optional(Type.Union(Isolation.anyOf, { default: "container" })),
  image: Type.String({
    minLength: 1,
    maxLength: 255,
    description: "name given at import (`name` or `name:tag`) or `sha256:…` of the manifest",
  }),
  command: Type.Optional(
    Type.Array(Type.String({ maxLength: 131_072 }), {
      maxItems: 1024,
      description: "replaces the image's entrypoint and command",
    }),
  ),
  args: Type.Optional(
    Type.Array(Type.String({ maxLength: 131_072 }), {
      maxItems: 1024,
      description: "replaces the image's command, keeps its entrypoint",
    }),
  ),
  env: Type.Optional(
    Type.Record(EnvironmentName, Type.String({ maxLength: 131_072 }), {
      maxProperties: 1024,
      additionalProperties: false,
    }),
  ),
  workingDir: Type.Optional(Type.String({ pattern: "^/", maxLength: 4096 })),
  user: Type.Optional(
    Type.String({
      maxLength: 255,
      description: "`user`, `uid`, `user:group` or `uid:gid`, looked up inside the image",
    }),
  ),
  resources: Resources,
  restart: Type.Optional(Type.Object(RestartPolicy.properties, { ...closed, default: defaultRestartPolicy })),
  replicas: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000, default: 1 })),
  constraints: Type.Optional(Type.Object({ hostLabels: Type.Optional(Labels) }, closed)),
  network: Type.Optional(NetworkChoice),
  ports: Type.Optional(
    Type.Array(PublishedPort, { maxItems: 256, description: "ports of the host that lead to ports of the instance" }),
  ),
  bandwidth: Type.Optional(Bandwidth),
  mounts: Type.Optional(Type.Array(BindMount, { maxItems: 64 })),
  tmpfs: Type.Optional(
    Type.Array(TemporaryDirectory, { maxItems: 64, description: "directories in memory; one may stand on /dev/shm" }),
  ),
  shares: Type.Optional(
    Type.Array(ShareMount, {
      maxItems: instanceSharesMax,
      description: "shares that its instances see; they run where the shares lie",
    }),
  ),
  stopGraceMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 3_600_000, default: 10_000 })),
  onLoss: Type.Optional(
    Type.Union([Type.Literal("keep"), Type.Literal("replace")], {
      default: "keep",
      description:
        "replace: the instance ends itself when its host loses contact for leaseMs, and is then started elsewhere",
    }),
  ),
  leaseMs: Type.Optional(Type.Integer({ minimum: 5_000, maximum: 86_400_000, default: 300_000 })),
  container: Type.Optional(ContainerOptions),
  vm: Type.Optional(VmOptions),
  labels: Type.Optional(Labels),
};

/** What a user asks for. Optional fields have the defaults their schema names; the API answers with every default filled in. */
export const WorkloadSpec = Type.Object(specFields, closed);
export type WorkloadSpec = Static<typeof WorkloadSpec>;

export const CreateWorkload = Type.Object({ name: Name, spec: WorkloadSpec }, { ...closed, $id: "CreateWorkload" });
export type CreateWorkload = Static<typeof CreateWorkload>;

const orNone = <Limit extends TSchema>(limit: Limit) => Type.Optional(Type.Union([limit, Type.Null()]));

const PatchIoLimits = Type.Object(
  {
    readBytesPerSec: orNone(Type.Integer({ minimum: 4096 })),
    writeBytesPerSec: orNone(Type.Integer({ minimum: 4096 })),
    readOpsPerSec: orNone(Type.Integer({ minimum: 1 })),
    writeOpsPerSec: orNone(Type.Integer({ minimum: 1 })),
    weight: orNone(Type.Integer({ minimum: 1, maximum: 10_000 })),
  },
  closed,
);

/** RFC 7396 merge patch of a workload: every field optional, `null` removes an optional one; absent fields stay. */
export const PatchWorkload = Type.Object(
  {
    spec: Type.Object(
      {
        resources: Type.Optional(
          Type.Object(
            {
              cpuMillis: Type.Optional(Resources.properties.cpuMillis),
              cpuLimitMillis: Type.Optional(
                Type.Union([Type.Integer({ minimum: minimumCpuMillis, maximum: 1_024_000 }), Type.Null()]),
              ),
              memoryBytes: Type.Optional(Resources.properties.memoryBytes),
              memoryReservationBytes: Type.Optional(
                Type.Union([Type.Integer({ minimum: 0, maximum: 2 ** 46 }), Type.Null()]),
              ),
              pidsMax: Type.Optional(Type.Union([Type.Integer({ minimum: 2, maximum: 4_194_304 }), Type.Null()])),
              io: Type.Optional(Type.Union([PatchIoLimits, Type.Null()])),
            },
            closed,
          ),
        ),
        replicas: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
        restart: Type.Optional(Type.Union([RestartPolicy, Type.Null()])),
        stopGraceMs: Type.Optional(Type.Union([Type.Integer({ minimum: 0, maximum: 3_600_000 }), Type.Null()])),
        labels: Type.Optional(
          Type.Union([
            Type.Record(Type.String(), Type.Union([Type.String({ maxLength: 255 }), Type.Null()])),
            Type.Null(),
          ]),
        ),
      },
      closed,
    ),
  },
  { ...closed, $id: "PatchWorkload" },
);
export type PatchWorkload = Static<typeof PatchWorkload>;

export const Workload = Type.Object(
  {
    id: WorkloadId,
    project: Name,
    name: Name,
    generation: Type.Integer({ minimum: 1, description: "version of the spec; the ETag" }),
    spec: WorkloadSpec,
    imageDigest: Digest,
    createdAt: Timestamp,
    deleting: Type.Boolean(),
    status: Type.Object(
      { desired: Type.Integer(), running: Type.Integer(), pending: Type.Integer(), failed: Type.Integer() },
      { ...closed, description: "number of instances" },
    ),
  },
  { ...closed, $id: "Workload" },
);
export type Workload = Static<typeof Workload>;
