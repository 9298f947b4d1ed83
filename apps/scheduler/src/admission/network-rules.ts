import {
  type CreateNetwork,
  type WorkloadSpec,
  fleetError,
  formatAddress,
  formatRange,
  hasOwnNetwork,
  parseAddress,
  parseRange,
  rangesOverlap,
  reservedNetworkNames,
} from "@bulkhead/contracts";
import type { NewNetwork } from "@bulkhead/inventory";
import type { Fault } from "./fault.ts";

/** Addresses that no network may have: what hosts use themselves, multicast, and ranges with other meanings. */
const unusable: readonly (readonly [string, string])[] = [
  ["0.0.0.0/8", "is this network (RFC 1122)"],
  ["127.0.0.0/8", "is loopback"],
  ["169.254.0.0/16", "is link-local"],
  ["224.0.0.0/3", "is multicast or reserved"],
  ["::/127", "is unspecified or loopback"],
  ["fe80::/10", "is link-local"],
  ["ff00::/8", "is multicast"],
];
/** Room for the range itself, the gateway, the broadcast address and at least one instance. */
const longest = { 32: 29, 128: 120 } as const;
const shortest = { 32: 8, 128: 16 } as const;

const invalid = (member: string, message: string): Error =>
  fleetError("NETWORK_RANGE_INVALID", `${member} ${message}.`, {
    fields: { errors: [{ pointer: `/${member}`, message }] },
  });

const readRange = (member: "ipv4Range" | "ipv6Range", text: string | undefined): string | null => {
  if (text === undefined) return null;
  const bits = member === "ipv4Range" ? 32 : 128;
  const range = parseRange(text);
  if (range === null || range.bits !== bits) {
    throw invalid(
      member,
      `must be an IPv${bits === 32 ? 4 : 6} range such as ${bits === 32 ? "10.7.0.0/24" : "fd00:7::/64"}`,
    );
  }
  if (range.prefix > longest[bits] || range.prefix < shortest[bits]) {
    throw invalid(member, `must have a prefix from ${shortest[bits]} to ${longest[bits]}`);
  }
  const clash = unusable.find(([other]) => {
    const parsed = parseRange(other);
    return parsed !== null && rangesOverlap(parsed, range);
  });
  if (clash !== undefined) throw invalid(member, `overlaps ${clash[0]}, which ${clash[1]}`);
  return formatRange(range);
};

/** The network a request describes. Throws NETWORK_RANGE_INVALID, REQUEST_INVALID. */
export const newNetwork = (body: CreateNetwork): NewNetwork => {
  if (reservedNetworkNames.includes(body.name)) {
    throw fleetError("REQUEST_INVALID", `A network cannot be named ${body.name}: it means something else.`, {
      fields: { errors: [{ pointer: "/name", message: "is reserved" }] },
    });
  }
  const ipv4Range = readRange("ipv4Range", body.ipv4Range);
  const ipv6Range = readRange("ipv6Range", body.ipv6Range);
  return {
    name: body.name,
    ipv4Range,
    ipv6Range,
    choose: ipv4Range === null && ipv6Range === null,
    mtu: body.mtu ?? 1500,
    internal: body.internal ?? false,
  };
};

/** What a specification says of networks that cannot be. */
export const networkFaults = (spec: WorkloadSpec): Fault[] => {
  const faults: Fault[] = [];
  const fault = (code: Fault["code"], pointer: string, message: string): void => {
    faults.push({ code, pointer, message });
  };
  const ports = spec.ports ?? [];
  const choice = spec.network ?? "none";
  if (!hasOwnNetwork(spec)) {
    const why = `needs a network; with \`${choice}\` there is ${choice === "host" ? "nothing between the host and the instance" : "only loopback"}`;
    if (ports.length > 0) fault("REQUEST_INVALID", "/spec/ports", why);
    if (spec.bandwidth !== undefined) fault("REQUEST_INVALID", "/spec/bandwidth", why);
  }
  if (spec.isolation === "vm" && choice === "host") {
    fault("FIELD_NOT_APPLICABLE", "/spec/network", "a VM has a kernel of its own and cannot have the host's network");
  }
  for (const [at, { hostAddress, hostPort, protocol = "tcp" }] of ports.entries()) {
    const parsed = hostAddress === undefined ? undefined : parseAddress(hostAddress);
    if (parsed === null) fault("REQUEST_INVALID", `/spec/ports/${at}/hostAddress`, "is no IP address");
    else if (parsed !== undefined && formatAddress(parsed) !== hostAddress) {
      fault("REQUEST_INVALID", `/spec/ports/${at}/hostAddress`, `must be written ${formatAddress(parsed)}`);
    }
    const same = ports.findIndex(
      (other) =>
        hostPort !== undefined &&
        other.hostPort === hostPort &&
        (other.protocol ?? "tcp") === protocol &&
        (other.hostAddress === undefined || hostAddress === undefined || other.hostAddress === hostAddress),
    );
    if (hostPort !== undefined && same < at) {
      fault("REQUEST_INVALID", `/spec/ports/${at}/hostPort`, `is what /spec/ports/${same} publishes already`);
    }
  }
  return faults;
};
