import { Type, type Static } from "typebox";
import { Name, NetworkId, Timestamp } from "./ids.ts";

const closed = { additionalProperties: false } as const;

const Port = Type.Integer({ minimum: 1, maximum: 65_535 });

export const Protocol = Type.Union([Type.Literal("tcp"), Type.Literal("udp")]);
export type Protocol = Static<typeof Protocol>;

/**
 * `none`: loopback, and what another member connects of a shared network namespace. `host`: the host's own network, where
 * the host's configuration allows it. Else a network's name.
 */
export const NetworkChoice = Type.String({
  pattern: "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
  maxLength: 63,
  default: "none",
  description:
    "`none` (loopback only; in a shared network namespace also what another of its users connects), `host` (where the host allows it, and in no shared one), or the name of a network of the project",
});

/** Names a network cannot have, because they mean something else. */
export const reservedNetworkNames: readonly string[] = ["none", "host"];

/** True for a choice that is a network's name. */
export const hasOwnNetwork = ({ network }: { readonly network?: string }): boolean =>
  network !== undefined && !reservedNetworkNames.includes(network);

export const PublishedPort = Type.Object(
  {
    containerPort: Port,
    hostPort: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 65_535, description: "without it the scheduler chooses a free one" }),
    ),
    protocol: Type.Optional(Type.Union(Protocol.anyOf, { default: "tcp" })),
    hostAddress: Type.Optional(
      Type.String({ maxLength: 45, description: "only connections to this address of the host; without it to any" }),
    ),
  },
  closed,
);
export type PublishedPort = Static<typeof PublishedPort>;

/** Most bits per second in each direction, as the instance sees it. */
export const Bandwidth = Type.Object(
  {
    ingressBitsPerSec: Type.Optional(Type.Integer({ minimum: 8_000, maximum: 2 ** 40 })),
    egressBitsPerSec: Type.Optional(Type.Integer({ minimum: 8_000, maximum: 2 ** 40 })),
  },
  closed,
);
export type Bandwidth = Static<typeof Bandwidth>;

const Range = (family: string) =>
  Type.String({ maxLength: 49, description: `${family} range as \`address/prefix\`; no two networks may overlap` });
/** IPv6 needs 1280 (RFC 8200); above 65535 no header can say the length. */
const Mtu = Type.Integer({ minimum: 1280, maximum: 65_535, default: 1500, description: "bytes in one packet" });

export const CreateNetwork = Type.Object(
  {
    name: Name,
    ipv4Range: Type.Optional(Range("IPv4")),
    ipv6Range: Type.Optional(Range("IPv6")),
    mtu: Type.Optional(Mtu),
    internal: Type.Optional(
      Type.Boolean({ default: false, description: "its instances reach each other and nothing outside" }),
    ),
  },
  { ...closed, $id: "CreateNetwork", description: "without any range, a free one of each family is chosen" },
);
export type CreateNetwork = Static<typeof CreateNetwork>;

export const Network = Type.Object(
  {
    id: NetworkId,
    project: Name,
    name: Name,
    ipv4Range: Type.Union([Type.String(), Type.Null()]),
    ipv6Range: Type.Union([Type.String(), Type.Null()]),
    mtu: Type.Integer(),
    internal: Type.Boolean(),
    addresses: Type.Integer({ description: "number of instances that have addresses in it" }),
    createdAt: Timestamp,
  },
  { ...closed, $id: "Network" },
);
export type Network = Static<typeof Network>;

const AssignedAddress = Type.Union([
  Type.Object({ address: Type.String(), prefix: Type.Integer(), gateway: Type.String() }, closed),
  Type.Null(),
]);

/** A published port with the host port it got. */
export const AssignedPort = Type.Object(
  {
    containerPort: Port,
    hostPort: Port,
    protocol: Protocol,
    hostAddress: Type.Union([Type.String(), Type.Null()]),
  },
  closed,
);
export type AssignedPort = Static<typeof AssignedPort>;

/** One assignment's place in a network; chosen by the scheduler in the transaction that places it. */
export const AssignedNetwork = Type.Object(
  {
    networkId: NetworkId,
    name: Name,
    mtu: Type.Integer(),
    internal: Type.Boolean(),
    mac: Type.String({ pattern: "^[0-9a-f]{2}(:[0-9a-f]{2}){5}$" }),
    ipv4: AssignedAddress,
    ipv6: AssignedAddress,
    ports: Type.Array(AssignedPort),
    names: Type.Array(Type.String(), { description: "names it answers to inside the network" }),
  },
  closed,
);
export type AssignedNetwork = Static<typeof AssignedNetwork>;
