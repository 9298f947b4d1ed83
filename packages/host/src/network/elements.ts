import type { AssignedNetwork } from "@bulkhead/contracts";
import type { RuleOperation } from "@bulkhead/native-namespaces";
import { linkLocalOf, type NetworkNames } from "./names.ts";
import { sets } from "./sets.ts";
import type { Attachment } from "./state.ts";

type SetName = keyof typeof sets;
type Element = {
  key: (string | number)[];
  data?: (string | number)[];
  limit?: { bytesPerSecond: number; burstBytes: number };
};

/** What a machine may send at once beside a second's worth, which the kernel always adds (nft_limit.c): one segment. */
const burstBytes = 65_536;

const egressLimit = (bitsPerSec: number): NonNullable<Element["limit"]> => ({
  bytesPerSecond: Math.ceil(bitsPerSec / 8),
  burstBytes,
});

const elements = (names: NetworkNames, op: "element.add" | "element.delete", set: SetName, list: Element[]) =>
  list.length === 0
    ? []
    : [
        {
          op,
          table: names.table,
          set,
          ...sets[set],
          elements: op === "element.add" ? list : list.map(({ key }) => ({ key })),
        } as RuleOperation,
      ];

/** What makes a bridge a network: said once for each. */
export const bridgeElements = (
  names: NetworkNames,
  op: "element.add" | "element.delete",
  { bridge, internal }: { readonly bridge: string; readonly internal: boolean },
): RuleOperation[] => [
  ...elements(names, op, "same", [{ key: [bridge, bridge] }]),
  ...elements(names, op, "internal", internal ? [{ key: [bridge] }] : []),
];

const portElements = (network: AssignedNetwork, version: 4 | 6): Record<"any" | "one", Element[]> => {
  const target = version === 4 ? network.ipv4 : network.ipv6;
  if (target === null) return { any: [], one: [] };
  const own = network.ports.map((port) => ({ ...port, data: [target.address, port.containerPort] }));
  const isOurs = (address: string): boolean => address.includes(":") === (version === 6);
  return {
    any: own
      .filter(({ hostAddress }) => hostAddress === null)
      .map(({ protocol: name, hostPort, data }) => ({ key: [name, hostPort], data })),
    one: own.flatMap(({ hostAddress, protocol: name, hostPort, data }) =>
      hostAddress !== null && isOurs(hostAddress) ? [{ key: [hostAddress, name, hostPort], data }] : [],
    ),
  };
};

/** One instance's elements, by the name of its link. */
export const instanceElements = (
  names: NetworkNames,
  op: "element.add" | "element.delete",
  { link, network, tap }: Pick<Attachment, "link" | "network" | "tap">,
): RuleOperation[] => {
  const egress = tap?.egressBitsPerSec ?? null;
  const { mac, ipv4, ipv6 } = network;
  const [four, six] = [portElements(network, 4), portElements(network, 6)];
  return [
    ...elements(names, op, "port4", ipv4 === null ? [] : [{ key: [link, mac, ipv4.address] }]),
    ...elements(
      names,
      op,
      "port6",
      ipv6 === null ? [] : [{ key: [link, mac, ipv6.address] }, { key: [link, mac, linkLocalOf(mac)] }],
    ),
    ...elements(names, op, "own4", ipv4 === null ? [] : [{ key: [ipv4.address] }]),
    ...elements(names, op, "own6", ipv6 === null ? [] : [{ key: [ipv6.address] }]),
    ...elements(names, op, "published4", four.any),
    ...elements(names, op, "publishedAt4", four.one),
    ...elements(names, op, "published6", six.any),
    ...elements(names, op, "publishedAt6", six.one),
    ...elements(names, op, "egress", egress === null ? [] : [{ key: [link], limit: egressLimit(egress) }]),
  ];
};
