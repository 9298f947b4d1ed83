import type { RuleExpression, RuleOperation } from "@bulkhead/native-namespaces";
import type { NetworkNames } from "./names.ts";
import { learned, sets } from "./sets.ts";

type InTable = Pick<RuleOperation, "family" | "table">;

const hex = (text: string): string => Buffer.from(text, "latin1").toString("hex");
/** Host byte order: x86-64 and arm64 are little-endian. */
const word = (value: number): string => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.toString("hex");
};

const accept: RuleExpression = { verdict: "accept" };
const drop: RuleExpression = { verdict: "drop" };

// include/uapi: NFPROTO_*, ETH_P_*, IPPROTO_*, RTN_LOCAL, NF_CT_STATE_BIT, IPS_DST_NAT
const family = { ipv4: "02", ipv6: "0a" } as const;
const etherType = { ipv4: "0800", arp: "0806", ipv6: "86dd" } as const;
const protocol = { icmp: "01", tcp: "06", udp: "11", icmpv6: "3a" } as const;
const localAddress = 2;
const establishedOrRelated = 0b110;
const destinationNat = 0x20;

const from = (prefix: string): RuleExpression[] => [
  { meta: "iifname", register: 0 },
  { compare: 0, with: hex(prefix) },
];
const to = (prefix: string): RuleExpression[] => [
  { meta: "oifname", register: 0 },
  { compare: 0, with: hex(prefix) },
];
const notTo = (prefix: string): RuleExpression[] => [
  { meta: "oifname", register: 0 },
  { compare: 0, with: hex(prefix), invert: true },
];
const bits = (what: "state" | "status", mask: number): RuleExpression[] => [
  { tracking: what, register: 0 },
  { mask: 0, with: word(mask) },
  { compare: 0, with: word(0), invert: true },
];
const published = bits("status", destinationNat);
const transport = (number: string): RuleExpression[] => [
  { meta: "l4proto", register: 0 },
  { compare: 0, with: number },
];

/**
 * Packets to the responder that one address may send: a hundred times what a busy program asks, and a few per cent of a
 * processor to answer.
 */
const questions = { perSecond: 1_000, burst: 2_000 } as const;

/** Who a frame says it is from, as the sets of links know it: link name, then MAC, then address. */
const sender = (address: { offset: number; length: number; base?: "transport" }, mac = 6): RuleExpression[] => [
  { meta: "iifname", register: 0 },
  { payload: mac === 6 ? "link" : "network", offset: mac, length: 6, register: 4 },
  { payload: address.base ?? "network", offset: address.offset, length: address.length, register: 6 },
];

const frame = (type: string): RuleExpression[] => [
  { meta: "protocol", register: 0 },
  { compare: 0, with: type },
];
const icmpv6 = (type: string): RuleExpression[] => [
  ...transport(protocol.icmpv6),
  { payload: "transport", offset: 0, length: 1, register: 0 },
  { compare: 0, with: type },
];

/** What an instance's link may send: only what carries its own MAC and addresses, in every place that tells others. */
const frameRules = (names: NetworkNames): RuleExpression[][] => [
  [{ meta: "iifname", register: 0 }, { compare: 0, with: hex(names.portPrefix), invert: true }, accept],
  [{ meta: "iifname", register: 0 }, { lookup: "egress", register: 0 }, drop],
  [
    ...frame(etherType.arp),
    ...sender({ offset: 14, length: 4 }),
    { lookup: "port4", register: 0 },
    // The MAC address inside the ARP packet, which is the one that neighbours learn.
    ...sender({ offset: 14, length: 4 }, 8),
    { lookup: "port4", register: 0 },
    accept,
  ],
  [...frame(etherType.ipv4), ...sender({ offset: 12, length: 4 }), { lookup: "port4", register: 0 }, accept],
  // Router advertisement and redirect: the host is the only router.
  [...frame(etherType.ipv6), ...icmpv6("86"), drop],
  [...frame(etherType.ipv6), ...icmpv6("89"), drop],
  // Neighbour advertisement: the target, not the sender, is what neighbours learn.
  [
    ...frame(etherType.ipv6),
    ...icmpv6("88"),
    ...sender({ base: "transport", offset: 8, length: 16 }),
    { lookup: "port6", register: 0, invert: true },
    drop,
  ],
  [...frame(etherType.ipv6), ...sender({ offset: 8, length: 16 }), { lookup: "port6", register: 0 }, accept],
  [drop],
];

/** Connections to this host's addresses that are published lead to their instance. */
const redirectRules = (): RuleExpression[][] =>
  ([4, 6] as const).flatMap((version) => {
    const name = `ipv${version}` as const;
    const local: RuleExpression[] = [
      { meta: "nfproto", register: 0 },
      { compare: 0, with: family[name] },
      { destinationType: 0 },
      { compare: 0, with: word(localAddress) },
    ];
    const words = version === 4 ? 1 : 4;
    const port = (register: number): RuleExpression[] => [
      { meta: "l4proto", register },
      { payload: "transport", offset: 2, length: 2, register: register + 1 },
    ];
    const go = (register: number): RuleExpression => ({ dnat: name, address: register, port: register + words });
    return [
      [
        ...local,
        { payload: "network", offset: version === 4 ? 16 : 24, length: words * 4, register: 0 },
        ...port(words),
        { lookup: `publishedAt${version}`, register: 0, to: 8 },
        go(8),
      ],
      [...local, ...port(0), { lookup: `published${version}`, register: 0, to: 8 }, go(8)],
    ];
  });

const toPort = (number: string, port: string): RuleExpression[] => [
  ...transport(number),
  { payload: "transport", offset: 2, length: 2, register: 0 },
  { compare: 0, with: port },
];
const domain = "0035";

/** Drops what one instance asks too much; it wakes nobody. */
const questionRules = (bridge: string): RuleExpression[][] =>
  ([4, 6] as const).flatMap((version) =>
    [protocol.udp, protocol.tcp].map((number): RuleExpression[] => [
      ...from(bridge),
      { meta: "nfproto", register: 0 },
      { compare: 0, with: family[`ipv${version}`] },
      ...toPort(number, domain),
      { payload: "network", offset: version === 4 ? 12 : 8, length: version === 4 ? 4 : 16, register: 0 },
      { limit: `asked${version}`, register: 0, ...questions },
      drop,
    ]),
  );

const chains = (names: NetworkNames) => {
  const { bridgePrefix: bridge } = names;
  return [
    { family: "bridge", chain: "frames", hook: "prerouting", type: "filter", priority: -300, rules: frameRules(names) },
    {
      // Before connections are tracked: 127.0.0.0/8 is routable on bridges only for what the host itself began.
      family: "inet",
      chain: "guard",
      hook: "prerouting",
      type: "filter",
      priority: -300,
      rules: [
        [
          ...from(bridge),
          { meta: "nfproto", register: 0 },
          { compare: 0, with: family.ipv4 },
          { payload: "network", offset: 16, length: 1, register: 0 },
          { compare: 0, with: "7f" },
          drop,
        ],
      ],
    },
    { family: "inet", chain: "arriving", hook: "prerouting", type: "nat", priority: -100, rules: redirectRules() },
    { family: "inet", chain: "own", hook: "output", type: "nat", priority: -100, rules: redirectRules() },
    {
      family: "inet",
      chain: "leaving",
      hook: "postrouting",
      type: "nat",
      priority: 100,
      rules: [
        [...from(bridge), ...notTo(bridge), { masquerade: true }],
        // By way of a published port, also to the own one: the answer must come back through here. By address and not
        // by link, because with br_netfilter such packets never have arrived by one.
        ...([4, 6] as const).map((version): RuleExpression[] => [
          ...to(bridge),
          ...published,
          { meta: "nfproto", register: 0 },
          { compare: 0, with: family[`ipv${version}`] },
          version === 4
            ? { payload: "network", offset: 12, length: 4, register: 0 }
            : { payload: "network", offset: 8, length: 16, register: 0 },
          { lookup: `own${version}`, register: 0 },
          { masquerade: true },
        ]),
        [
          ...to(bridge),
          { meta: "nfproto", register: 0 },
          { compare: 0, with: family.ipv4 },
          { payload: "network", offset: 12, length: 1, register: 0 },
          { compare: 0, with: "7f" },
          { masquerade: true },
        ],
        [
          ...to(bridge),
          { meta: "nfproto", register: 0 },
          { compare: 0, with: family.ipv6 },
          { payload: "network", offset: 8, length: 16, register: 0 },
          { compare: 0, with: `${"00".repeat(15)}01` },
          { masquerade: true },
        ],
      ],
    },
    {
      family: "inet",
      chain: "through",
      hook: "forward",
      type: "filter",
      priority: 0,
      rules: [
        [...to(bridge), ...bits("state", establishedOrRelated), accept],
        [...to(bridge), ...published, accept],
        [{ meta: "iifname", register: 0 }, { meta: "oifname", register: 4 }, { lookup: "same", register: 0 }, accept],
        [...to(bridge), drop],
        [...from(bridge), ...bits("state", establishedOrRelated), accept],
        [{ meta: "iifname", register: 0 }, { lookup: "internal", register: 0 }, drop],
      ],
    },
    {
      family: "inet",
      chain: "host",
      hook: "input",
      type: "filter",
      priority: 0,
      rules: [
        // First of all: to the kernel, one who asks on and on from one port is a connection that was let in.
        ...questionRules(bridge),
        [...from(bridge), ...bits("state", establishedOrRelated), accept],
        ...[protocol.udp, protocol.tcp].map((number): RuleExpression[] => [
          ...from(bridge),
          ...toPort(number, domain),
          accept,
        ]),
        [...from(bridge), ...transport(protocol.icmp), accept],
        [...from(bridge), ...transport(protocol.icmpv6), accept],
        [...from(bridge), drop],
      ],
    },
  ] as const;
};

/** The whole rule set without elements; a present one is replaced in the same transaction, so no packet sees a gap. */
export const ruleSet = (names: NetworkNames): RuleOperation[] => {
  const at = (family: "inet" | "bridge"): InTable => ({ family, table: names.table });
  const operations: RuleOperation[] = (["inet", "bridge"] as const).flatMap((each): RuleOperation[] => [
    // Deleting what is not there fails the transaction, adding what is there does not.
    { op: "table.add", ...at(each) },
    { op: "table.delete", ...at(each) },
    { op: "table.add", ...at(each) },
  ]);
  for (const [set, { family: each, ...types }] of Object.entries(sets)) {
    operations.push({ op: "set.add", ...at(each), set, ...types });
  }
  for (const [set, { family: each, ...rest }] of Object.entries(learned)) {
    operations.push({ op: "set.add", ...at(each), set, ...rest });
  }
  for (const { family: each, chain, rules, ...hook } of chains(names)) {
    operations.push({ op: "chain.add", ...at(each), chain, ...hook });
    for (const expressions of rules) operations.push({ op: "rule.add", ...at(each), chain, expressions });
  }
  return operations;
};

/** Removal of everything of ours. */
export const noRules = (names: NetworkNames): RuleOperation[] =>
  (["inet", "bridge"] as const).flatMap((each): RuleOperation[] => [
    { op: "table.add", family: each, table: names.table },
    { op: "table.delete", family: each, table: names.table },
  ]);
