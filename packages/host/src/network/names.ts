import { createHash, randomFillSync } from "node:crypto";

/** Names and numbers by which one host's networks are known in the kernel. All begin with, or are made of, its hash. */
export interface NetworkNames {
  /** table of both families, inet and bridge */
  readonly table: string;
  /** link group of everything of ours, so that all of it can go in one request */
  readonly group: number;
  /** names of bridges begin so, and no other link's does */
  readonly bridgePrefix: string;
  /** names of instances' links begin so */
  readonly portPrefix: string;
  bridge(networkId: string): BridgeName;
  /** a name and index nobody has, but for chance */
  newPort(): BridgeName;
}

export interface BridgeName {
  readonly name: string;
  readonly index: number;
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Indexes are ours to choose; the kernel counts from 1, so the upper half does not meet its own. */
const indexOf = (bytes: Buffer): number => 0x4000_0000 + (bytes.readUInt32BE(bytes.length - 4) & 0x3fff_ffff);

/** Networks whose names are remembered, since each start asks for them several times. */
const rememberedMax = 256;

/** Random bytes, eight at a time out of many: to ask for them costs the same for few and for many. */
const randomEights = (): (() => Buffer) => {
  const pool = Buffer.alloc(1024);
  let at = pool.length;
  return () => {
    if (at === pool.length) {
      randomFillSync(pool);
      at = 0;
    }
    at += 8;
    return pool.subarray(at - 8, at);
  };
};

/** `hash` has 8 hex digits; link names have 15 characters at most (IFNAMSIZ). */
export const networkNames = (hash: string): NetworkNames => {
  const bridges = new Map<string, BridgeName>();
  const random = randomEights();
  return {
    table: `bulkhead_${hash}`,
    group: Number.parseInt(hash, 16) || 1,
    bridgePrefix: `b${hash}`,
    portPrefix: `v${hash}`,
    bridge: (networkId) => {
      const known = bridges.get(networkId);
      if (known !== undefined) return known;
      const bytes = digest(networkId);
      const bridge = { name: `b${hash}${bytes.toString("hex", 0, 3)}`, index: indexOf(bytes) };
      if (bridges.size >= rememberedMax) bridges.clear();
      bridges.set(networkId, bridge);
      return bridge;
    },
    newPort: () => {
      const bytes = random();
      return { name: `v${hash}${bytes.toString("base64url").slice(0, 6)}`, index: indexOf(bytes) };
    },
  };
};

/** A bridge's MAC address: locally administered, and the same on every host, so that a network's gateway never moves. */
export const bridgeMac = (networkId: string): string => {
  const bytes = digest(networkId);
  return ["02", ...[...bytes.subarray(4, 9)].map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
};

/** The link-local address that belongs to a MAC address (RFC 4291, appendix A), as RFC 5952 spells it. */
export const linkLocalOf = (mac: string): string => {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac.split(":").map((byte) => Number.parseInt(byte, 16));
  const groups = [((a ^ 2) << 8) | b, (c << 8) | 0xff, 0xfe00 | d, (e << 8) | f];
  // Before these lie three of zeros, and the first of these joins them when it is zero as well.
  const shown = groups[0] === 0 ? groups.slice(1) : groups;
  return `fe80::${shown.map((group) => group.toString(16)).join(":")}`;
};
