import { Type, type Static } from "typebox";

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

const branded = <Name extends string>(options: { pattern: string; description: string; maxLength?: number }) =>
  Type.Unsafe<Branded<Name>>(Type.String(options));

/** RFC 9562 UUID in lower case; we make version 7, so that ids sort by creation. */
const uuidPattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[1-9a-f][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$";

export const WorkloadId = branded<"WorkloadId">({ pattern: uuidPattern, description: "workload id (UUIDv7)" });
export type WorkloadId = Static<typeof WorkloadId>;
export const InstanceId = branded<"InstanceId">({ pattern: uuidPattern, description: "instance id (UUIDv7)" });
export type InstanceId = Static<typeof InstanceId>;
export const HostId = branded<"HostId">({ pattern: uuidPattern, description: "host id (UUIDv7)" });
export type HostId = Static<typeof HostId>;
export const OperationId = branded<"OperationId">({ pattern: uuidPattern, description: "operation id (UUIDv7)" });
export type OperationId = Static<typeof OperationId>;
export const NetworkId = branded<"NetworkId">({ pattern: uuidPattern, description: "network id (UUIDv7)" });
export type NetworkId = Static<typeof NetworkId>;
export const SnapshotId = branded<"SnapshotId">({ pattern: uuidPattern, description: "snapshot id (UUIDv7)" });
export type SnapshotId = Static<typeof SnapshotId>;
export const ClusterId = branded<"ClusterId">({
  pattern: uuidPattern,
  description: "id of one control plane's database",
});
export type ClusterId = Static<typeof ClusterId>;

/** RFC 1123 label: names become host names inside instances. */
export const Name = Type.String({
  pattern: "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
  maxLength: 63,
  description: "lower-case letters, digits and hyphens, at most 63 characters (RFC 1123 label)",
});
export type Name = Static<typeof Name>;

/** OCI descriptor digest; sha256 only. */
export const Digest = branded<"Digest">({ pattern: "^sha256:[0-9a-f]{64}$", description: "sha256 digest of content" });
export type Digest = Static<typeof Digest>;

/** Which runtime isolates an instance; also which of a host's two agents runs it. */
export const Isolation = Type.Union([Type.Literal("container"), Type.Literal("vm")], {
  description: "container: namespaces and cgroups on the host's kernel; vm: its own kernel on KVM",
});
export type Isolation = Static<typeof Isolation>;

/** Free-form labels; keys and values are bounded so that they fit indexes and headers. */
export const Labels = Type.Record(
  Type.String({ pattern: "^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$" }),
  Type.String({ maxLength: 255 }),
  {
    maxProperties: 64,
    additionalProperties: false,
  },
);
export type Labels = Static<typeof Labels>;

/** RFC 3339 instant in UTC. */
export const Timestamp = Type.String({ format: "date-time", description: "RFC 3339, UTC" });

/** Largest number of a column of 4 bytes. One that is larger fails its statement, for all whom that is about. */
export const integerMax = 2 ** 31 - 1;

/** Assignment number: `era` rises when the control plane was restored, `n` with every assignment of the instance. */
export const Epoch = Type.Object(
  { era: Type.Integer({ minimum: 1, maximum: integerMax }), n: Type.Integer({ minimum: 1, maximum: integerMax }) },
  { additionalProperties: false },
);
export type Epoch = Static<typeof Epoch>;

/** Orders epochs: negative when `a` is older than `b`. */
export const compareEpochs = (a: Epoch, b: Epoch): number => a.era - b.era || a.n - b.n;
