import { Type, type Static } from "typebox";
import { HostId, InstanceId, Name, Timestamp } from "./ids.ts";

const closed = { additionalProperties: false } as const;

/** Kinds that are seen at a path, and that a running instance can be given and lose. */
export const mountedShareKinds = ["directory", "shared-memory", "socket-directory"] as const;
export type MountedShareKind = (typeof mountedShareKinds)[number];
export const shareKinds = [...mountedShareKinds, "namespace"] as const;
export type ShareKind = (typeof shareKinds)[number];

/** Namespaces that instances can have in common; what else they see stays each one's own. */
export const sharedNamespaceTypes = ["network", "ipc", "pid", "uts"] as const;
export type SharedNamespaceType = (typeof sharedNamespaceTypes)[number];

const SharedNamespaces = Type.Array(Type.Enum(sharedNamespaceTypes), {
  minItems: 1,
  uniqueItems: true,
  description:
    "what the users of a share of kind namespace have in common: network (loopback, ports, and the place in a network of the one user that names a network), ipc (System V and POSIX, with one /dev/shm), pid (they see and signal each other's processes), uts (the host name, which is the share's)",
});

export const ShareId = Type.String({
  pattern: "^[0-9a-f]{8}-[0-9a-f]{4}-[1-9a-f][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$",
  description: "share id (UUIDv7)",
});

/** Shares that one instance sees at most; its document names the place of each. */
export const instanceSharesMax = 64;

/** Smallest size that a file system of its own can have, in bytes. */
export const minimumShareBytes = 1024 * 1024;
/** Size of shared memory that names none, in bytes: that of an instance's own /dev/shm. */
export const defaultSharedMemoryBytes = 64 * 1024 * 1024;

const Identity = Type.Integer({ minimum: 0, maximum: 65_535 });

const specFields = {
  kind: Type.Enum(shareKinds, {
    description:
      "directory: on the host's disk; shared-memory: a tmpfs; socket-directory: a small tmpfs for Unix sockets, where no program can be run from, and between a VM and containers each has a socket for each of the other's; namespace: namespaces of the kernel that its users are in from their start to their end",
  }),
  namespaces: Type.Optional(SharedNamespaces),
  sizeBytes: Type.Optional(
    Type.Integer({
      minimum: minimumShareBytes,
      maximum: 2 ** 46,
      description: "most it can hold; a directory with a size gets a file system of its own, a volume",
    }),
  ),
  owner: Type.Optional(
    Type.Object(
      { uid: Identity, gid: Identity },
      { ...closed, description: "as seen inside every instance (default 0:0)" },
    ),
  ),
  mode: Type.Optional(
    Type.String({
      pattern: "^[01]?[0-7]{3}$",
      description: "permissions (default 0755; shared memory and sockets 1777)",
    }),
  ),
  lifetime: Type.Optional(
    Type.Union([Type.Literal("kept"), Type.Literal("transient")], {
      description: "kept: until it is deleted (default of directories); transient: until its last user is gone",
    }),
  ),
};

export const ShareSpec = Type.Object(specFields, closed);
export type ShareSpec = Static<typeof ShareSpec>;
/** A specification with every default filled in; namespaces have no owner and no mode. */
export type FullShareSpec = ShareSpec & Required<Pick<ShareSpec, "lifetime">>;
type MountedShareSpec = ShareSpec & { readonly kind: MountedShareKind };
type FullMountedShareSpec = MountedShareSpec & Required<Pick<ShareSpec, "owner" | "mode" | "lifetime">>;

export const CreateShare = Type.Object({ name: Name, spec: ShareSpec }, { ...closed, $id: "CreateShare" });
export type CreateShare = Static<typeof CreateShare>;

const place = {
  path: Type.String({ pattern: "^/", maxLength: 4096, description: "where the instance sees it" }),
  readOnly: Type.Optional(Type.Boolean({ default: true })),
};

/** A share that an instance has from its start. */
export const ShareMount = Type.Object(
  {
    share: Name,
    path: Type.Optional(
      Type.String({ ...place.path, description: "where the instance sees it; not for a share of kind namespace" }),
    ),
    readOnly: place.readOnly,
  },
  closed,
);
export type ShareMount = Static<typeof ShareMount>;

/** Body that attaches a share to a running instance. */
export const AttachShare = Type.Object(place, { ...closed, $id: "AttachShare" });
export type AttachShare = Static<typeof AttachShare>;

/** A share as an agent needs it to show it to one instance. */
export const AssignedShare = Type.Object(
  {
    shareId: ShareId,
    name: Name,
    kind: Type.Enum(mountedShareKinds),
    sizeBytes: specFields.sizeBytes,
    owner: Type.Object({ uid: Identity, gid: Identity }, closed),
    mode: Type.String({ pattern: "^[01]?[0-7]{3}$" }),
    lifetime: Type.Union([Type.Literal("kept"), Type.Literal("transient")]),
    path: place.path,
    readOnly: Type.Boolean(),
  },
  closed,
);
export type AssignedShare = Static<typeof AssignedShare>;

/** The share of kind namespace that an instance is in; one at most, for all its members have one range of ids. */
export const AssignedNamespaces = Type.Object(
  { shareId: ShareId, name: Name, namespaces: SharedNamespaces, sizeBytes: specFields.sizeBytes },
  closed,
);
export type AssignedNamespaces = Static<typeof AssignedNamespaces>;

/** `declared`: seen whenever it runs; `attaching` and `detaching`: ordered, and not yet confirmed by its host. */
export const shareUseStates = ["declared", "attaching", "attached", "detaching"] as const;

/** One edge of the share graph: this instance sees that share. */
export const ShareUse = Type.Object(
  {
    share: Name,
    instanceId: InstanceId,
    instance: Name,
    path: Type.Union([Type.String(), Type.Null()], { description: "null: namespaces are at no path" }),
    readOnly: Type.Boolean(),
    state: Type.Enum(shareUseStates),
    detail: Type.Union([Type.String(), Type.Null()], { description: "why it is not confirmed yet" }),
  },
  { ...closed, $id: "ShareUse" },
);
export type ShareUse = Static<typeof ShareUse>;

export const Share = Type.Object(
  {
    id: ShareId,
    project: Name,
    name: Name,
    spec: ShareSpec,
    hostId: Type.Union([HostId, Type.Null()], { description: "where it lies; null: wherever its first user will run" }),
    hostName: Type.Union([Type.String(), Type.Null()]),
    users: Type.Array(ShareUse, { description: "instances that see it; while there are any it cannot be deleted" }),
    deleting: Type.Boolean({ description: "waits for its host to remove the data" }),
    createdAt: Timestamp,
  },
  { ...closed, $id: "Share" },
);
export type Share = Static<typeof Share>;

/** Who sees what. */
export const ShareGraph = Type.Object(
  {
    shares: Type.Array(
      Type.Object(
        {
          name: Name,
          kind: specFields.kind,
          namespaces: specFields.namespaces,
          hostName: Share.properties.hostName,
        },
        closed,
      ),
    ),
    uses: Type.Array(ShareUse),
  },
  { ...closed, $id: "ShareGraph" },
);
export type ShareGraph = Static<typeof ShareGraph>;

/** Asks an agent to bring an instance's shares in line with its newest document, and to say what came of it. */
export const ApplyShares = Type.Object({ instanceId: InstanceId }, closed);
export type ApplyShares = Static<typeof ApplyShares>;

export const ShareOutcome = Type.Object(
  {
    shareId: ShareId,
    state: Type.Union([Type.Literal("attached"), Type.Literal("detached"), Type.Literal("failed")]),
    busy: Type.Boolean({
      description: "files of it were open: in a container they stay usable to whoever has them open",
    }),
    detail: Type.Union([Type.String(), Type.Null()]),
  },
  closed,
);
export type ShareOutcome = Static<typeof ShareOutcome>;

/** What an instance that runs sees after its shares were applied; `running` false: it will at its next start. */
export const SharesApplied = Type.Object({ running: Type.Boolean(), outcomes: Type.Array(ShareOutcome) }, closed);
export type SharesApplied = Static<typeof SharesApplied>;

/** Removes a share's data from a host, for ever. */
export const RemoveShare = Type.Object({ shareId: ShareId }, closed);
export type RemoveShare = Static<typeof RemoveShare>;

/** What came of a request about one share of one instance. */
export const ShareChange = Type.Object(
  {
    share: Name,
    instance: Name,
    state: Type.Enum([...shareUseStates, "detached"] as const),
    busy: Type.Boolean({
      description:
        "files of it were open: a container's programs that have them open keep them, a VM's programs that had some were ended",
    }),
    detail: Type.Union([Type.String(), Type.Null()]),
  },
  { ...closed, $id: "ShareChange" },
);
export type ShareChange = Static<typeof ShareChange>;

const modes: Readonly<Record<MountedShareKind, string>> = {
  directory: "0755",
  "shared-memory": "1777",
  "socket-directory": "1777",
};

/** Whether it holds memory: shared memory does, and an IPC namespace has its own /dev/shm. */
const holdsMemory = ({ kind, namespaces = [] }: ShareSpec): boolean =>
  kind === "shared-memory" || (kind === "namespace" && namespaces.includes("ipc"));

/** The specification with every default filled in. */
export function withShareDefaults(spec: MountedShareSpec): FullMountedShareSpec;
export function withShareDefaults(spec: ShareSpec): FullShareSpec;
export function withShareDefaults(spec: ShareSpec): FullShareSpec {
  const sizeBytes = spec.sizeBytes ?? (holdsMemory(spec) ? defaultSharedMemoryBytes : undefined);
  const size = sizeBytes === undefined ? {} : { sizeBytes };
  if (spec.kind === "namespace") {
    const namespaces = sharedNamespaceTypes.filter((type) => spec.namespaces?.includes(type));
    return { kind: spec.kind, namespaces, ...size, lifetime: "transient" };
  }
  return {
    kind: spec.kind,
    ...size,
    owner: spec.owner ?? { uid: 0, gid: 0 },
    mode: (spec.mode ?? modes[spec.kind]).padStart(4, "0"),
    lifetime: spec.lifetime ?? (spec.kind === "directory" ? "kept" : "transient"),
  };
}
