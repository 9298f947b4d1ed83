import type { AssignedNetwork } from "@bulkhead/contracts";

const hex = (value: number): string => value.toString(16).padStart(2, "0");

/** Places in one network, IPv4 and IPv6, as the scheduler gives them out: each for one instance at a time. */
export class NetworkMembers {
  readonly #free = Array.from({ length: 250 }, (_, at) => at + 2);

  /** A place, given back when disposed of. */
  take(): Disposable & { readonly network: AssignedNetwork } {
    const member = this.#free.shift();
    if (member === undefined) throw new Error("every address is taken");
    const network: AssignedNetwork = {
      networkId: "0190b5c0-0000-7000-8000-0000000000a1" as AssignedNetwork["networkId"],
      name: "bench",
      mtu: 1500,
      internal: false,
      mac: `02:42:0a:21:00:${hex(member)}`,
      ipv4: { address: `10.33.0.${member}`, prefix: 24, gateway: "10.33.0.1" },
      ipv6: { address: `fd00:33::${member.toString(16)}`, prefix: 64, gateway: "fd00:33::1" },
      ports: [],
      names: [`bench-${member}`, "bench"],
    };
    return { network, [Symbol.dispose]: () => this.#free.push(member) };
  }
}
