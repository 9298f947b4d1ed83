import { readFile } from "node:fs/promises";
import { formatAddress, parseAddress, type AssignedNamespaces, type ViewNamespace } from "@bulkhead/contracts";
import type { Attachment } from "@bulkhead/host";

/** Addresses of a network namespace as its process's /proc/PID/net/fib_trie and /proc/PID/net/if_inet6 tell. */
export const parseAddresses = (fibTrie: string, inet6: string): Set<string> => {
  // A leaf is an address or a range; one of the namespace's own is followed by what says so.
  const four = [...fibTrie.matchAll(/\|-- (\S+)\n\s+\/32 host LOCAL/g)].map(([, address = ""]) => address);
  const six = [...inet6.matchAll(/^([0-9a-f]{32}) /gm)].flatMap(([, digits = ""]) => {
    const address = parseAddress(digits.replaceAll(/(.{4})(?=.)/g, "$1:"));
    return address === null ? [] : [formatAddress(address)];
  });
  return new Set([...four, ...six]);
};

export interface ConnectedQuery {
  readonly pid: number;
  readonly namespaces: AssignedNamespaces | undefined;
  readonly attachments: readonly Attachment[];
  nameOf(instanceId: Attachment["instanceId"]): string | undefined;
}

/**
 * Who has connected the shared network namespace of a process: by the host's records of whom it connected, where the
 * kernel has the addresses in that namespace. Rejects ENOENT when the process has ended.
 */
export const readConnected = async (query: ConnectedQuery): Promise<ViewNamespace["connected"]> => {
  const { pid, namespaces, attachments } = query;
  const found = attachments.find(({ share }) => share !== undefined && share.shareId === namespaces?.shareId);
  if (found === undefined || namespaces?.namespaces.includes("network") !== true) return undefined;
  const proc = (file: string): Promise<string> => readFile(`/proc/${pid}/net/${file}`, "utf8");
  // A kernel without IPv6 has no file of its addresses.
  const there = parseAddresses(await proc("fib_trie"), await proc("if_inet6").catch(() => ""));
  const { instanceId, network } = found;
  const addresses = [network.ipv4, network.ipv6]
    .flatMap((each) => each?.address ?? [])
    .filter((each) => there.has(each));
  if (addresses.length === 0) return undefined;
  return { instanceId, name: query.nameOf(instanceId) ?? instanceId, network: network.name, addresses };
};
