import { fleetError } from "@bulkhead/contracts";

/** Everything of NATS that this package uses, and since when a server has it. */
export const featuresInUse = [
  { feature: 'message headers and immediate "no responders" answers', since: "2.2.0" },
  { feature: "operator mode with scoped signing keys and allow_responses", since: "2.2.0" },
  { feature: "JetStream pull consumers with delayed negative acknowledgement", since: "2.7.1" },
  { feature: "JetStream consumer creation with the filter in its subject", since: "2.9.0" },
] as const;

const numbers = (version: string): number[] => (/^[0-9]+(\.[0-9]+)*/.exec(version)?.[0] ?? "0").split(".").map(Number);

/** Negative when `a` is older than `b`; pre-release suffixes are ignored. */
export const compareVersions = (a: string, b: string): number => {
  const [left, right] = [numbers(a), numbers(b)];
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
};

/**
 * Old servers silently ignore what they do not know, so a server that lacks a feature in use is refused by name.
 * Throws BUS_UNAVAILABLE. 2.9.10 (Debian 12) has all.
 */
export const checkServer = (info: { version: string; headers?: boolean }): void => {
  const missing = featuresInUse.filter(({ since }) => compareVersions(info.version, since) < 0);
  const lacking = missing.map(({ feature, since }) => `${feature} (since ${since})`);
  if (info.headers !== true && lacking.length === 0) lacking.push("message headers (switched off)");
  if (lacking.length === 0) return;
  throw fleetError(
    "BUS_UNAVAILABLE",
    `nats-server ${info.version} lacks ${lacking.join(", ")}. Use 2.9.10 or newer, or another BULKHEAD_NATS_URL.`,
  );
};
