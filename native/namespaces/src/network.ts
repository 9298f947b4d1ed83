// Netlink and what networks need beside it, typed. Lists of operations go to the kernel in one call.
import { addon, type NativeLink } from "./addon.ts";
import { NativeError, unwrap } from "./error.ts";

interface LinkFields {
  name?: string;
  index?: number;
  mac?: string;
  mtu?: number;
  /** links of one group can be deleted together */
  group?: number;
  /** index of the bridge it becomes a port of */
  master?: number;
  up?: boolean;
  /** a descriptor of the network namespace it lives in */
  netns?: number;
  /**
   * Made with one queue each way. A veth has room for one per processor otherwise and uses one all the same: the kernel
   * then waits for a grace period, with all of the host's links locked, to give the others up (veth_init_queues).
   */
  oneQueue?: boolean;
  /** no link-local IPv6 address by itself */
  noLinkLocal?: boolean;
}

interface Excuses {
  /** there already: done */
  mayExist?: boolean;
  /** gone already: done */
  mayBeMissing?: boolean;
}

/** One change of links, addresses, routes or queues; wrong fields are NativeErrors that name their JSON pointer. */
export type RouteOperation = Excuses &
  (
    | ({
        op: "link.add";
        kind: "bridge";
        /** floods multicast, whoever says he listens */ noSnooping?: boolean;
      } & LinkFields)
    | ({ op: "link.add"; kind: "veth"; peer: LinkFields } & LinkFields)
    | ({ op: "link.set"; /** a port of a bridge may send back what came from it */ hairpin?: boolean } & LinkFields)
    | ({ op: "link.delete" } & Pick<LinkFields, "name" | "index" | "group">)
    | {
        op: "address.add" | "address.delete";
        index: number;
        address: string;
        prefix: number;
        linkScope?: boolean;
      }
    | { op: "route.add"; index: number; gateway: string; destination?: string; prefix?: number }
    | { op: "neighbour.add"; index: number; address: string; mac: string }
    | { op: "bucket.set"; index: number; bitsPerSec: number; burstBytes: number; limitBytes: number }
  );

export type ValueKind = "ifname" | "mac" | "ipv4" | "ipv6" | "protocol" | "port";
export type Value = readonly (string | number)[];

/** Registers are numbered 0 to 15, 4 bytes each; values lie across neighbours. `with` is hex. */
export type RuleExpression =
  | { meta: "iifname" | "oifname" | "l4proto" | "protocol" | "nfproto"; register: number }
  | { payload: "link" | "network" | "transport"; offset: number; length: number; register: number }
  | { tracking: "state" | "status"; register: number }
  | { destinationType: number }
  | { mask: number; with: string }
  | { compare: number; with: string; invert?: boolean }
  | { lookup: string; register: number; to?: number; invert?: boolean }
  /** true for what goes over the limit; a bucket for each value of the register, kept in a set that learns */
  | { limit: string; register: number; perSecond: number; burst: number }
  | { dnat: "ipv4" | "ipv6"; address: number; port: number }
  | { masquerade: true }
  | { verdict: "accept" | "drop" };

interface InTable {
  family: "inet" | "bridge";
  table: string;
}

/** One change of a rule set; a list of them is one transaction. */
export type RuleOperation = InTable &
  (
    | { op: "table.add" | "table.delete" }
    | {
        op: "chain.add";
        chain: string;
        hook?: "prerouting" | "input" | "forward" | "output" | "postrouting";
        type?: "filter" | "nat";
        priority?: number;
      }
    | { op: "chain.flush"; chain: string }
    | { op: "rule.add"; chain: string; expressions: readonly RuleExpression[] }
    | { op: "set.add"; set: string; key: readonly ValueKind[]; data?: readonly ValueKind[] }
    /** filled by rules: at most `size` elements, each forgotten when it was quiet for `forgetSeconds` */
    | { op: "set.add"; set: string; key: readonly [ValueKind]; size: number; forgetSeconds: number }
    | {
        op: "element.add" | "element.delete";
        set: string;
        key: readonly ValueKind[];
        data?: readonly ValueKind[];
        /** with a limit, an element is found only by what goes over it */
        elements: readonly { key: Value; data?: Value; limit?: { bytesPerSecond: number; burstBytes: number } }[];
      }
  );

const here = -1;

/** Operations in one network namespace, by descriptor; in this process's own without. */
export interface RoutePart {
  readonly space?: number;
  readonly operations: readonly RouteOperation[];
}

/**
 * Does several plans in one call, each part after the other. A plan ends at its first failure, the others go on; answers
 * what each failed with.
 */
export async function applyRoutes(plans: readonly (readonly RoutePart[])[]): Promise<(NativeError | undefined)[]> {
  const results = await addon.netRoute(
    plans.map((plan) => plan.map(({ space = here, operations }) => ({ space, json: JSON.stringify(operations) }))),
  );
  return results.map((result) => (result.ok ? undefined : new NativeError(result)));
}

/** Does what is listed in this process's own network namespace, in order. Rejects NativeError. */
export async function applyRoute(operations: readonly RouteOperation[]): Promise<void> {
  const [failure] = await applyRoutes([[{ operations }]]);
  if (failure !== undefined) throw failure;
}

/**
 * The packet rules of this process's own network namespace. Its socket is kept, because closing one waits until the
 * kernel has freed whatever was deleted by whoever: some 12 ms, against 0.1 ms for a transaction.
 */
export class PacketRules implements Disposable {
  #socket: Descriptor | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  /** One transaction: all of it or nothing. Rejects NativeError. */
  apply(operations: readonly RuleOperation[]): Promise<void> {
    const next = this.#turn.then(() => this.#apply(JSON.stringify(operations)));
    this.#turn = next.catch(() => undefined);
    return next;
  }

  async #apply(json: string): Promise<void> {
    this.#socket ??= new Descriptor(unwrap(addon.ruleSocket()));
    const result = await addon.netRules(this.#socket.number, json);
    // Answers that nobody waited for may still come; they must not be taken for the next transaction's.
    if (!result.ok) this.#close();
    unwrap(result);
  }

  #close(): void {
    this.#socket?.[Symbol.dispose]();
    this.#socket = undefined;
  }

  /** Not under a transaction that is still on its way: its thread would meet whoever gets the descriptor next. */
  [Symbol.dispose](): void {
    this.#turn = this.#turn.then(() => this.#close());
  }
}

export interface Link extends Omit<NativeLink, "mac"> {
  /** `aa:bb:cc:dd:ee:ff`; empty for links without one */
  mac: string;
}

export async function listLinks(space: number = here): Promise<Link[]> {
  return unwrap(await addon.netLinks(space)).map((link) => ({
    ...link,
    mac: [...link.mac].map((byte) => byte.toString(16).padStart(2, "0")).join(":"),
  }));
}

export interface LinkAddress {
  index: number;
  prefix: number;
  /** 4 or 16 */
  bytes: Uint8Array;
}

export async function listAddresses(space: number = here): Promise<LinkAddress[]> {
  return unwrap(await addon.netAddresses(space));
}

export async function listTables(): Promise<{ family: string; name: string }[]> {
  return unwrap(await addon.netTables());
}

/** Keys of a set's elements, as bytes. */
export async function listElements({ family, table }: InTable, set: string): Promise<Uint8Array[]> {
  return unwrap(await addon.netElements(family, table, set));
}

/** A descriptor with a number of its own; closing twice does nothing. */
export class Descriptor implements Disposable {
  readonly number: number;
  #open = true;

  constructor(number: number) {
    this.number = number;
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    addon.closeFd(this.number);
  }
}

/** Keeps others off a port until disposed. Throws NativeError (EADDRINUSE). */
export function holdPort(protocol: "tcp" | "udp", address: string, port: number): Descriptor {
  return new Descriptor(unwrap(addon.holdPort(protocol, address, port)));
}

/** Waits until nobody else has the lock file; disposing lets go. The kernel lets go for a process that dies. */
export async function lockFile(path: string): Promise<Descriptor> {
  return new Descriptor(unwrap(await addon.lockFile(path)));
}

/** A network namespace by path, such as /proc/PID/ns/net. */
export function openNetworkSpace(path: string): Descriptor {
  return new Descriptor(unwrap(addon.openSpace(path)));
}

/**
 * A tap device of this process's network namespace, which is there for as long as somebody has its descriptor. Throws
 * NativeError.
 */
export function openTap({ name, index }: { name: string; index: number }): Descriptor {
  return new Descriptor(unwrap(addon.openTap(name, index)));
}
