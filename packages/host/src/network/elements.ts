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

/** Elements by set, each set once. */
type Elements = Partial<Record<SetName, Element[]>>;

/** What changes all of these, in one operation for each set. */
export const elementsOf = (
  names: NetworkNames,
  op: "element.add" | "element.delete",
  all: readonly Elements[],
): RuleOperation[] => {
  const bySet = new Map<SetName, Element[]>();
  for (const elements of all) {
    for (const [set, list] of Object.entries(elements) as [SetName, Element[]][]) {
      if (list.length === 0) continue;
      const known = bySet.get(set);
      if (known === undefined) bySet.set(set, [...list]);
      else known.push(...list);
    }
  }
  return [...bySet].map(([set, list]) => ({
    op,
    table: names.table,
    set,
    ...sets[set],
    elements: op === "element.add" ? list : list.map(({ key }) => ({ key })),
  }));
};

/** What makes a bridge a network: said once for each. */
export const bridgeElements = ({
  bridge,
  internal,
}: {
  readonly bridge: string;
  readonly internal: boolean;
}): Elements => ({ same: [{ key: [bridge, bridge] }], internal: internal ? [{ key: [bridge] }] : [] });

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
export const instanceElements = ({ link, network, tap }: Pick<Attachment, "link" | "network" | "tap">): Elements => {
  const egress = tap?.egressBitsPerSec ?? null;
  const { mac, ipv4, ipv6 } = network;
  const [four, six] = [portElements(network, 4), portElements(network, 6)];
  return {
    port4: ipv4 === null ? [] : [{ key: [link, mac, ipv4.address] }],
    port6: ipv6 === null ? [] : [{ key: [link, mac, ipv6.address] }, { key: [link, mac, linkLocalOf(mac)] }],
    own4: ipv4 === null ? [] : [{ key: [ipv4.address] }],
    own6: ipv6 === null ? [] : [{ key: [ipv6.address] }],
    published4: four.any,
    publishedAt4: four.one,
    published6: six.any,
    publishedAt6: six.one,
    egress: egress === null ? [] : [{ key: [link], limit: egressLimit(egress) }],
  };
};
