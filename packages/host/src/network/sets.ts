import type { ValueKind } from "@bulkhead/native-namespaces";

/** Sets and maps; every instance has one element in each that concerns it. */
export const sets = {
  /** which MAC and IPv4 address each link may use */
  port4: { family: "bridge", key: ["ifname", "mac", "ipv4"] },
  /** links of machines that may send so much; one is found there by what is more */
  egress: { family: "bridge", key: ["ifname"] },
  /** addresses of all instances */
  own4: { family: "inet", key: ["ipv4"] },
  own6: { family: "inet", key: ["ipv6"] },
  port6: { family: "bridge", key: ["ifname", "mac", "ipv6"] },
  /** bridges, each joined with itself: traffic that stays in one network */
  same: { family: "inet", key: ["ifname", "ifname"] },
  /** bridges whose instances reach nothing outside */
  internal: { family: "inet", key: ["ifname"] },
  published4: { family: "inet", key: ["protocol", "port"], data: ["ipv4", "port"] },
  published6: { family: "inet", key: ["protocol", "port"], data: ["ipv6", "port"] },
  publishedAt4: { family: "inet", key: ["ipv4", "protocol", "port"], data: ["ipv4", "port"] },
  publishedAt6: { family: "inet", key: ["ipv6", "protocol", "port"], data: ["ipv6", "port"] },
} as const satisfies Record<string, { family: "inet" | "bridge"; key: ValueKind[]; data?: ValueKind[] }>;

/** Sets that the rules fill themselves, with who has asked for names lately; nobody can be more than one address. */
export const learned = {
  asked4: { family: "inet", key: ["ipv4"], size: 65_536, forgetSeconds: 60 },
  asked6: { family: "inet", key: ["ipv6"], size: 65_536, forgetSeconds: 60 },
} as const;
