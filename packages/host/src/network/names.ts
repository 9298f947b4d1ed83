import { formatAddress } from "@bulkhead/contracts";
import { createHash, randomBytes } from "node:crypto";

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

/** `hash` has 8 hex digits; link names have 15 characters at most (IFNAMSIZ). */
export const networkNames = (hash: string): NetworkNames => ({
  table: `bulkhead_${hash}`,
  group: Number.parseInt(hash, 16) || 1,
  bridgePrefix: `b${hash}`,
  portPrefix: `v${hash}`,
  bridge: (networkId) => {
    const bytes = digest(networkId);
    return { name: `b${hash}${bytes.toString("hex", 0, 3)}`, index: indexOf(bytes) };
  },
  newPort: () => {
    const bytes = randomBytes(8);
    return { name: `v${hash}${bytes.toString("base64url").slice(0, 6)}`, index: indexOf(bytes) };
  },
});

/** A bridge's MAC address: locally administered, and the same on every host, so that a network's gateway never moves. */
export const bridgeMac = (networkId: string): string => {
  const bytes = digest(networkId);
  return ["02", ...[...bytes.subarray(4, 9)].map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
};

/** The link-local address that belongs to a MAC address (RFC 4291, appendix A). */
export const linkLocalOf = (mac: string): string => {
  const bytes = mac.split(":").map((byte) => Number.parseInt(byte, 16));
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = bytes;
  const groups = [((a ^ 2) << 8) | b, (c << 8) | 0xff, 0xfe00 | d, (e << 8) | f];
  const value = groups.reduce((all, group) => (all << 16n) | BigInt(group), 0n);
  return formatAddress({ bits: 128, value: (0xfe80n << 112n) | value });
};
