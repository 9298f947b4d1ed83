/** An IP address as a number, with its family's width. */
export interface IpAddress {
  readonly bits: 32 | 128;
  readonly value: bigint;
}

/** A range as its first address and the length of its prefix. */
export interface IpRange extends IpAddress {
  readonly prefix: number;
}

const parse4 = (text: string): bigint | null => {
  const parts = text.split(".");
  if (parts.length !== 4) return null;
  let value = 0n;
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return null;
    value = (value << 8n) | BigInt(part);
  }
  return value;
};

const groupsOf = (text: string): bigint[] | null => {
  if (text === "") return [];
  const groups = text.split(":");
  return groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group)) ? groups.map((group) => BigInt(`0x${group}`)) : null;
};

const parse6 = (text: string): bigint | null => {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const [head, tail] = [groupsOf(halves[0] ?? ""), groupsOf(halves[1] ?? "")];
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const groups = [...head, ...Array.from({ length: missing }, () => 0n), ...tail];
  return groups.reduce((value, group) => (value << 16n) | group, 0n);
};

/** An IPv4 address in four decimal parts or an IPv6 address in hexadecimal groups; null for anything else. */
export const parseAddress = (text: string): IpAddress | null => {
  const four = parse4(text);
  if (four !== null) return { bits: 32, value: four };
  const six = text.includes(":") ? parse6(text) : null;
  return six === null ? null : { bits: 128, value: six };
};

const format6 = (value: bigint): string => {
  const groups = Array.from({ length: 8 }, (_, at) => Number((value >> BigInt(112 - at * 16)) & 0xffffn));
  // RFC 5952: the longest run of zero groups, the first of equals, at least two.
  let best = { at: 8, length: 1 };
  for (let at = 0; at < 8; at += 1) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === 0) length += 1;
    if (length > best.length) best = { at, length };
  }
  const words = groups.map((group) => group.toString(16));
  if (best.at === 8) return words.join(":");
  return `${words.slice(0, best.at).join(":")}::${words.slice(best.at + best.length).join(":")}`;
};

/** The one spelling in which addresses are stored and compared. */
export const formatAddress = ({ bits, value }: IpAddress): string =>
  bits === 128 ? format6(value) : [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 0xffn)).join(".");

/** `address/prefix` with every bit after the prefix zero; null for anything else. */
export const parseRange = (text: string): IpRange | null => {
  const [address = "", length = "", ...more] = text.split("/");
  const parsed = parseAddress(address);
  if (parsed === null || more.length > 0 || !/^(0|[1-9][0-9]{0,2})$/.test(length)) return null;
  const prefix = Number(length);
  if (prefix > parsed.bits) return null;
  const hostBits = BigInt(parsed.bits - prefix);
  return (parsed.value >> hostBits) << hostBits === parsed.value ? { ...parsed, prefix } : null;
};

export const formatRange = (range: IpRange): string => `${formatAddress(range)}/${range.prefix}`;

/** Number of addresses in a range. */
export const rangeSize = ({ bits, prefix }: IpRange): bigint => 1n << BigInt(bits - prefix);

export const rangesOverlap = (a: IpRange, b: IpRange): boolean => {
  if (a.bits !== b.bits) return false;
  const shift = BigInt(a.bits - Math.min(a.prefix, b.prefix));
  return a.value >> shift === b.value >> shift;
};

/** The address that every host's bridge has in a network: the first that is not the range itself. */
export const gatewayOf = (range: IpRange): IpAddress => ({ bits: range.bits, value: range.value + 1n });
