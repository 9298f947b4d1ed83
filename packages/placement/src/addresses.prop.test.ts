import {
  formatAddress,
  formatRange,
  parseAddress,
  parseRange,
  rangesOverlap,
  type PublishedPort,
} from "@bulkhead/contracts";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { AddressPool, choosePorts, type HeldPort } from "./index.ts";

const address = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value) => ({ bits: 32 as const, value })),
  fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((value) => ({ bits: 128 as const, value })),
);

test("an address survives being written and read", () => {
  fc.assert(
    fc.property(address, (found) => {
      expect(parseAddress(formatAddress(found))).toEqual(found);
    }),
  );
});

test("ranges overlap exactly when one holds the other's first address", () => {
  const range = fc
    .tuple(fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }), fc.integer({ min: 20, max: 32 }))
    .map(([value, prefix]) => ({
      bits: 32 as const,
      prefix,
      value: (value >> BigInt(32 - prefix)) << BigInt(32 - prefix),
    }));
  fc.assert(
    fc.property(range, range, (a, b) => {
      const end = (r: typeof a): bigint => r.value + 2n ** BigInt(32 - r.prefix);
      expect(rangesOverlap(a, b)).toBe(a.value < end(b) && b.value < end(a));
      expect(parseRange(formatRange(a))).toEqual(a);
    }),
  );
});

test("a pool gives every usable address once, never one that is taken, and then says why it has none", () => {
  const used = fc.uniqueArray(fc.integer({ min: 2, max: 14 }), { maxLength: 13 });
  fc.assert(
    fc.property(used, (taken) => {
      const pool = new AddressPool({
        id: "0190b5c0-0000-7000-8000-000000000001",
        name: "n",
        ipv4Range: "10.9.0.0/28",
        ipv6Range: "fd00:9::/64",
        mtu: 1500,
        internal: false,
        used: taken.map((last) => `10.9.0.${last}`),
      });
      const given: number[] = [];
      const macs = new Set<string>();
      while (pool.exhausted() === undefined) {
        const lodging = pool.take();
        given.push(Number(lodging.ipv4?.address.split(".")[3]));
        macs.add(lodging.mac);
      }
      const all = Array.from({ length: 13 }, (_, at) => at + 2);
      expect(given).toEqual(all.filter((last) => !taken.includes(last)));
      expect(macs.size).toBe(given.length);
      expect(pool.exhausted()).toBe("network n has no free address in 10.9.0.0/28");
      expect(() => pool.take()).toThrow(RangeError);
    }),
  );
});

const spot = fc.record({
  protocol: fc.constantFrom("tcp" as const, "udp" as const),
  hostAddress: fc.constantFrom(null, "10.0.0.1", "10.0.0.2"),
});

test("no two ports of one host ever lead to different instances", () => {
  const clash = (a: HeldPort, b: HeldPort): boolean =>
    a.hostPort === b.hostPort &&
    a.protocol === b.protocol &&
    (a.hostAddress === null || b.hostAddress === null || a.hostAddress === b.hostAddress);
  const held = fc.array(
    spot.chain((where) => fc.integer({ min: 29_999, max: 30_003 }).map((hostPort) => ({ ...where, hostPort }))),
    { maxLength: 6 },
  );
  const wanted = fc.array(
    fc.record({ where: spot, hostPort: fc.option(fc.integer({ min: 29_999, max: 30_003 }), { nil: undefined }) }),
    { maxLength: 4 },
  );
  fc.assert(
    fc.property(held, wanted, (present, wishes) => {
      const ports: PublishedPort[] = wishes.map(({ where, hostPort }) => ({
        containerPort: 80,
        protocol: where.protocol,
        ...(where.hostAddress === null ? {} : { hostAddress: where.hostAddress }),
        ...(hostPort === undefined ? {} : { hostPort }),
      }));
      const chosen = choosePorts(ports, present);
      if (typeof chosen === "string") {
        // Refused only for a port that was named: there are always others.
        return ports.some(({ hostPort }) => hostPort !== undefined);
      }
      expect(chosen).toHaveLength(ports.length);
      for (const [at, port] of chosen.entries()) {
        expect(present.some((other) => clash(port, other))).toBe(false);
        expect(chosen.some((other, index) => index !== at && clash(port, other))).toBe(false);
      }
      return true;
    }),
  );
});
