import type { AssignedNetwork, Bandwidth } from "@bulkhead/contracts";
import {
  applyRoute,
  applyRoutes,
  type NativeError,
  type RouteOperation,
  type RoutePart,
} from "@bulkhead/native-namespaces";
import { bridgeMac, linkLocalOf, type BridgeName, type NetworkNames } from "./names.ts";

/** Name of an instance's link inside, and its index there: above what the kernel counts. */
const insideName = "eth0";
const insideIndex = 1000;

/** Bucket of a token bucket filter: enough for 10 ms at the rate, and for one segment of 64 KiB (tc-tbf(8)). */
const burstMin = 65_536;
const burstMs = 10;
/** What may wait for tokens, in milliseconds at the rate; more is dropped, and TCP slows down. */
const queueMs = 50;

const bucket = (index: number, bitsPerSec: number): RouteOperation => {
  const bytesPerMs = bitsPerSec / 8000;
  const burstBytes = Math.max(burstMin, Math.ceil(bytesPerMs * burstMs));
  const limitBytes = Math.min(2 ** 32 - 1, burstBytes + Math.ceil(bytesPerMs * queueMs));
  return { op: "bucket.set", index, bitsPerSec, burstBytes: Math.min(burstBytes, 2 ** 31), limitBytes };
};

/** Without an address that nobody gave: a link-local one would be no instance's, so no rule would let it pass. */
const raise = (index: number): RouteOperation[] => [
  { op: "link.set", index, noLinkLocal: true },
  { op: "link.set", index, up: true },
];

const linkLocal = (index: number, mac: string): RouteOperation => ({
  op: "address.add",
  index,
  address: linkLocalOf(mac),
  prefix: 64,
  linkScope: true,
  mayExist: true,
});

/** Makes a network's bridge with the gateway's addresses; there already is done. */
export const makeBridge = async (names: NetworkNames, network: AssignedNetwork): Promise<BridgeName> => {
  const bridge = names.bridge(network.networkId);
  const { group } = names;
  const mac = bridgeMac(network.networkId);
  await applyRoute([
    // Snooping changes nothing while nobody queries, as here. It costs timers for every port, makes the bridge itself
    // join groups, and would let a member who queries decide what others receive.
    { op: "link.add", kind: "bridge", ...bridge, mac, mtu: network.mtu, group, noSnooping: true, mayExist: true },
    ...raise(bridge.index),
    // A router asks for its neighbours from a link-local address (RFC 4861).
    ...(network.ipv6 === null ? [] : [linkLocal(bridge.index, mac)]),
    ...[network.ipv4, network.ipv6].flatMap((each): RouteOperation[] =>
      each === null
        ? []
        : [{ op: "address.add", index: bridge.index, address: each.gateway, prefix: each.prefix, mayExist: true }],
    ),
  ]);
  return bridge;
};

export interface InstanceLink {
  readonly port: BridgeName;
  readonly network: AssignedNetwork;
  readonly bandwidth: Bandwidth | undefined;
  /** descriptor of the instance's network namespace */
  readonly space: number;
}

const placeOf = (names: NetworkNames, { mtu, networkId }: AssignedNetwork) => ({
  mtu,
  group: names.group,
  master: names.bridge(networkId).index,
});

const outside = (names: NetworkNames, link: InstanceLink): RouteOperation[] => {
  const { port, network, space } = link;
  const { mac, mtu } = network;
  const peer = { name: insideName, index: insideIndex, mac, mtu, netns: space, oneQueue: true };
  return [
    // One message makes both ends, so there never is half a pair.
    { op: "link.add", kind: "veth", ...port, ...placeOf(names, network), oneQueue: true, peer },
    ...plugged(link),
  ];
};

/** What makes a link that is there a port of its network. */
const plugged = ({ port: { index }, bandwidth }: Omit<InstanceLink, "space">): RouteOperation[] => [
  // With br_netfilter a published port of its own leads an instance back to itself below the host's routing.
  { op: "link.set", index, noLinkLocal: true, hairpin: true },
  { op: "link.set", index, up: true },
  ...(bandwidth?.ingressBitsPerSec === undefined ? [] : [bucket(index, bandwidth.ingressBitsPerSec)]),
];

const inside = ({ network, bandwidth }: InstanceLink): RouteOperation[] => {
  const operations = raise(insideIndex);
  if (network.ipv6 !== null) operations.push(linkLocal(insideIndex, network.mac));
  for (const each of [network.ipv4, network.ipv6]) {
    if (each === null) continue;
    operations.push({ op: "address.add", index: insideIndex, address: each.address, prefix: each.prefix });
    operations.push({ op: "route.add", index: insideIndex, gateway: each.gateway });
  }
  if (bandwidth?.egressBitsPerSec !== undefined) operations.push(bucket(insideIndex, bandwidth.egressBitsPerSec));
  return operations;
};

/** Makes pairs of links and configures both ends, all in one call; answers what went wrong with each. */
export const makeLinks = (names: NetworkNames, links: readonly InstanceLink[]): Promise<(NativeError | undefined)[]> =>
  applyRoutes(
    links.map((link): RoutePart[] => [
      { operations: outside(names, link) },
      { space: link.space, operations: inside(link) },
    ]),
  );

/** Makes a tap device a port of its network. Its other end is the machine's own to configure. */
export const plugTap = (names: NetworkNames, link: Omit<InstanceLink, "space">): Promise<void> =>
  applyRoute([
    { op: "link.set", index: link.port.index, ...placeOf(names, link.network), noLinkLocal: true },
    ...plugged(link),
  ]);

/**
 * Removes links that no namespace of their run takes along: those of namespaces that others are in, and tap devices,
 * which are gone with their machines unless somebody made one stay.
 */
export const removePorts = (indexes: readonly number[]): Promise<void> =>
  applyRoute(indexes.map((index): RouteOperation => ({ op: "link.delete", index, mayBeMissing: true })));

/** Removes bridges. The link of a container's own namespace is never removed alone: it goes with that. */
export const removeBridges = (names: NetworkNames, networkIds: readonly string[]): Promise<void> =>
  applyRoute(
    networkIds.map((id): RouteOperation => ({ op: "link.delete", index: names.bridge(id).index, mayBeMissing: true })),
  );

/** Removes every link of this host in one request. */
export const removeLinks = (names: NetworkNames): Promise<void> =>
  applyRoute([{ op: "link.delete", group: names.group, mayBeMissing: true }]);
