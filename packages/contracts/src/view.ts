import { Type, type Static } from "typebox";
import { InstanceId, Timestamp } from "./ids.ts";
import { MachineView } from "./machine-view.ts";

const closed = { additionalProperties: false } as const;

/** Entries of one list; a longer one is cut and named in `truncated`. */
export const viewListMax = 1_000;
/** Host processes named as examples of who is in a namespace; the count is of all. */
export const viewExamplesMax = 10;

export const namespaceTypes = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time"] as const;
export type NamespaceType = (typeof namespaceTypes)[number];

export const ViewMount = Type.Object(
  {
    target: Type.String({ description: "where the instance sees it" }),
    source: Type.String({ description: "device or name that the file system was mounted from" }),
    type: Type.String({ description: "file system" }),
    root: Type.String({ description: "which part of the file system it shows" }),
    device: Type.String({ description: "major:minor; equal ones are one file system" }),
    mode: Type.Union([Type.Literal("ro"), Type.Literal("rw")]),
    options: Type.Array(Type.String()),
    propagation: Type.Union(
      [Type.Literal("private"), Type.Literal("shared"), Type.Literal("slave"), Type.Literal("unbindable")],
      { description: "whether mounts made here or elsewhere travel; private: neither" },
    ),
    peerGroup: Type.Union([Type.Integer(), Type.Null()]),
    idMapped: Type.Boolean(),
    share: Type.Union([Type.String(), Type.Null()], { description: "name of the share it shows" }),
  },
  closed,
);
export type ViewMount = Static<typeof ViewMount>;

export const ViewNamespace = Type.Object(
  {
    type: Type.Enum(namespaceTypes),
    inode: Type.Integer({ description: "the kernel's number of it; who has the same is in the same" }),
    own: Type.Boolean({ description: "nobody outside the instance is in it" }),
    instances: Type.Array(Type.Object({ instanceId: InstanceId, name: Type.String() }, closed), {
      description: "other instances in it",
    }),
    share: Type.Optional(Type.String({ description: "name of the share that it is in common by" })),
    connected: Type.Optional(
      Type.Object(
        { instanceId: InstanceId, name: Type.String(), network: Type.String(), addresses: Type.Array(Type.String()) },
        { ...closed, description: "of a shared network namespace: who has connected it to which network, and where" },
      ),
    ),
    hostProcesses: Type.Object(
      {
        count: Type.Integer({ description: "processes in it that belong to no instance" }),
        examples: Type.Array(Type.Object({ pid: Type.Integer(), command: Type.String() }, closed)),
      },
      closed,
    ),
  },
  closed,
);
export type ViewNamespace = Static<typeof ViewNamespace>;

export const ViewDevice = Type.Object(
  {
    path: Type.String(),
    kind: Type.Union([Type.Literal("character"), Type.Literal("block")]),
    major: Type.Integer(),
    minor: Type.Integer(),
    mode: Type.String({ pattern: "^[0-7]{4}$" }),
    uid: Type.Union([Type.Integer(), Type.Null()], { description: "as seen inside; null: nobody there" }),
    gid: Type.Union([Type.Integer(), Type.Null()]),
  },
  closed,
);
export type ViewDevice = Static<typeof ViewDevice>;

export const ViewSeccomp = Type.Object(
  {
    mode: Type.Union([Type.Literal("disabled"), Type.Literal("strict"), Type.Literal("filter")]),
    filters: Type.Integer({ description: "programs stacked on the first process, as the kernel counts them" }),
    from: Type.Union([Type.Literal("kernel"), Type.Literal("plan"), Type.Literal("none")], {
      description: "whether the lists were read from the running process or from what it was started with",
    }),
    why: Type.Union([Type.String(), Type.Null()], { description: "why not from the kernel" }),
    allowed: Type.Array(Type.String(), { description: "system calls allowed whatever their arguments" }),
    conditional: Type.Array(Type.String(), { description: "allowed with some arguments only" }),
    refused: Type.Integer({ description: "known system calls that are never allowed" }),
    otherwise: Type.Union([Type.String(), Type.Null()], {
      description: "what happens with a number that this release has no name for",
    }),
  },
  closed,
);
export type ViewSeccomp = Static<typeof ViewSeccomp>;

export const ViewSocket = Type.Object(
  {
    protocol: Type.Enum(["tcp", "tcp6", "udp", "udp6", "unix", "unix-abstract"] as const),
    address: Type.String({ description: "address and port, path, or abstract name" }),
    uid: Type.Union([Type.Integer(), Type.Null()], { description: "owner as seen inside; null: nobody there" }),
  },
  closed,
);
export type ViewSocket = Static<typeof ViewSocket>;

const Capabilities = Type.Array(Type.String());

/** What a running instance can see and do, read from the kernel's own files at `at`. */
export const InstanceView = Type.Object(
  {
    instanceId: InstanceId,
    name: Type.String(),
    at: Timestamp,
    pid: Type.Integer({ description: "first process, by the host's number" }),
    processes: Type.Integer({ description: "in all" }),
    mounts: Type.Array(ViewMount),
    namespaces: Type.Array(ViewNamespace),
    unreadable: Type.Integer({
      description: "processes of the host whose namespaces its kernel shows to nobody here; they are in no count",
    }),
    devices: Type.Object(
      {
        nodes: Type.Array(ViewDevice),
        allowed: Type.Union([Type.Array(Type.String()), Type.Null()], {
          description: "the devices controller's list (cgroup v1); null where a program decides or nothing does",
        }),
      },
      closed,
    ),
    capabilities: Type.Object(
      {
        effective: Capabilities,
        permitted: Capabilities,
        inheritable: Capabilities,
        bounding: Capabilities,
        ambient: Capabilities,
      },
      closed,
    ),
    ids: Type.Object(
      {
        uid: Type.Union([Type.Integer(), Type.Null()], { description: "effective user inside; null: nobody there" }),
        gid: Type.Union([Type.Integer(), Type.Null()]),
        uidMap: Type.Array(
          Type.Object({ inside: Type.Integer(), outside: Type.Integer(), count: Type.Integer() }, closed),
        ),
      },
      closed,
    ),
    seccomp: ViewSeccomp,
    security: Type.Object(
      {
        noNewPrivileges: Type.Boolean(),
        modules: Type.Union([Type.Array(Type.String()), Type.Null()], {
          description: "security modules of the host's kernel; null: it does not say",
        }),
        label: Type.Union([Type.String(), Type.Null()], { description: "of AppArmor or SELinux" }),
        writable: Type.Union([Type.Array(Type.String()), Type.Null()], {
          description:
            "the only places, beside /dev and /proc, where it may change files (Landlock), as it was started with: " +
            "the kernel shows these rules to nobody; null: not confined",
        }),
      },
      closed,
    ),
    sockets: Type.Array(ViewSocket, {
      description: "that somebody could connect or send to, in its network namespace",
    }),
    limits: Type.Array(Type.Object({ controller: Type.String(), file: Type.String(), value: Type.String() }, closed), {
      description: "limits in force, as the cgroup's files have them",
    }),
    truncated: Type.Array(Type.String(), { description: "lists that were cut" }),
    machine: Type.Optional(MachineView),
  },
  { ...closed, $id: "InstanceView" },
);
export type InstanceView = Static<typeof InstanceView>;

/** Asks an agent what one of its instances can see. */
export const ViewInstance = Type.Object(
  {
    instanceId: InstanceId,
    seccompFrom: Type.Union([Type.Literal("kernel"), Type.Literal("plan")], {
      description: "kernel: stops the first process for some microseconds to read its filters",
    }),
  },
  closed,
);
export type ViewInstance = Static<typeof ViewInstance>;
