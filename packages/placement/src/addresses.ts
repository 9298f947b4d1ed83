import {
  formatAddress,
  gatewayOf,
  parseAddress,
  parseRange,
  rangeSize,
  type AssignedNetwork,
  type IpRange,
} from "@bulkhead/contracts";

/** A network as placement sees it: its ranges and which addresses are taken. */
export interface NetworkSnapshot {
  readonly id: string;
  readonly name: string;
  readonly ipv4Range: string | null;
  readonly ipv6Range: string | null;
  readonly mtu: number;
  readonly internal: boolean;
  /** addresses of all assignments that are not gone */
  readonly used: readonly string[];
}

/** What a placement gets of its network; names are the instance's and are added where they are known. */
export type Lodging = Omit<AssignedNetwork, "ports" | "names">;

/** The range itself, the gateway, and in IPv4 the broadcast address are nobody's. */
const usable = (range: IpRange): { readonly first: bigint; readonly last: bigint } => ({
  first: range.value + 2n,
  last: range.value + rangeSize(range) - (range.bits === 32 ? 2n : 1n),
});

class RangePool {
  readonly range: IpRange;
  readonly #taken: Set<bigint>;
  #next: bigint;

  constructor(range: IpRange, used: readonly string[]) {
    this.range = range;
    const parsed = used.flatMap((text) => parseAddress(text) ?? []);
    this.#taken = new Set(parsed.filter(({ bits }) => bits === range.bits).map(({ value }) => value));
    this.#next = usable(range).first;
  }

  /** The lowest free address, or null. What is skipped once stays taken while a plan is made, so this never looks twice. */
  peek(): bigint | null {
    while (this.#taken.has(this.#next)) this.#next += 1n;
    return this.#next <= usable(this.range).last ? this.#next : null;
  }

  take(value: bigint): { address: string; prefix: number; gateway: string } {
    this.#taken.add(value);
    return {
      address: formatAddress({ bits: this.range.bits, value }),
      prefix: this.range.prefix,
      gateway: formatAddress(gatewayOf(this.range)),
    };
  }
}

/** 02:… is locally administered; the rest is the address, so that an address never changes its MAC. */
const macOf = (address: bigint, bits: number): string => {
  const low = address & 0xffff_ffffn;
  const bytes = [0x02, bits === 32 ? 0x42 : 0x46, ...[24n, 16n, 8n, 0n].map((shift) => Number((low >> shift) & 0xffn))];
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
};

/** Gives out a network's addresses while a plan is made. */
export class AddressPool {
  readonly #network: NetworkSnapshot;
  readonly #four: RangePool | null;
  readonly #six: RangePool | null;

  constructor(network: NetworkSnapshot) {
    this.#network = network;
    const pool = (text: string | null): RangePool | null => {
      const range = text === null ? null : parseRange(text);
      return range === null ? null : new RangePool(range, network.used);
    };
    this.#four = pool(network.ipv4Range);
    this.#six = pool(network.ipv6Range);
  }

  /** Why nobody can get an address now; undefined when somebody can. */
  exhausted(): string | undefined {
    for (const pool of [this.#four, this.#six]) {
      if (pool !== null && pool.peek() === null) {
        return `network ${this.#network.name} has no free address in ${pool === this.#four ? this.#network.ipv4Range : this.#network.ipv6Range}`;
      }
    }
    return undefined;
  }

  /** One address of each of the network's families. Throws RangeError when `exhausted()`. */
  take(): Lodging {
    const [four, six] = [this.#four?.peek() ?? null, this.#six?.peek() ?? null];
    const key = four ?? six;
    if (key === null || (this.#four !== null && four === null) || (this.#six !== null && six === null)) {
      throw new RangeError(`network ${this.#network.name} is exhausted`);
    }
    const { id, name, mtu, internal } = this.#network;
    return {
      networkId: id as AssignedNetwork["networkId"],
      name,
      mtu,
      internal,
      mac: macOf(key, four === null ? 128 : 32),
      ipv4: four === null || this.#four === null ? null : this.#four.take(four),
      ipv6: six === null || this.#six === null ? null : this.#six.take(six),
    };
  }
}
