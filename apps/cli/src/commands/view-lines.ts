import type { InstanceView } from "@bulkhead/contracts";

/** One fact of a view: where it belongs, what it is about, and what is so. */
export interface Fact {
  readonly section: string;
  readonly about: string;
  readonly value: string;
}

const company = ({ own, instances, hostProcesses, share, connected }: InstanceView["namespaces"][number]): string => {
  if (own) return "its own";
  const host = hostProcesses.count === 0 ? [] : [`${hostProcesses.count} host processes`];
  const by = share === undefined ? "" : ` by share ${share}`;
  const link =
    connected === undefined
      ? ""
      : `; ${connected.name} connects it to ${connected.network} as ${connected.addresses.join(", ")}`;
  return `shared with ${[...instances.map(({ name }) => name), ...host].join(", ")}${by}${link}`;
};

const mountFacts = ({ mounts }: InstanceView): Fact[] =>
  mounts.map((mount) => ({
    section: "MOUNTS",
    about: mount.target,
    value: [
      mount.mode,
      mount.type,
      ...(mount.share === null ? [] : [`share ${mount.share}`]),
      ...(mount.idMapped ? ["id-mapped"] : []),
      ...mount.options.filter((option) => option.startsWith("no") && !option.includes("atime")),
      mount.propagation,
    ].join(" "),
  }));

const seccompFacts = ({ seccomp }: InstanceView): Fact[] => {
  const fact = (about: string, value: string): Fact => ({ section: "SYSTEM CALLS", about, value });
  if (seccomp.mode === "disabled") return [fact("filter", "none: every system call is allowed")];
  return [
    fact(
      "filter",
      seccomp.from === "kernel" ? "read from the kernel" : `from the ${seccomp.from} (${seccomp.why ?? ""})`,
    ),
    fact("allowed", `${seccomp.allowed.length}`),
    fact("depends on arguments", seccomp.conditional.join(" ") || "none"),
    fact("refused", `${seccomp.refused}`),
  ];
};

const times = (uses: number | null): string => (uses === null ? "not counted" : `${uses} times`);

/** Of a virtual machine; the rest of its view is its monitor's. */
const machineFacts = ({ machine }: InstanceView): Fact[] => {
  if (machine === undefined) return [];
  const { exits, systemCalls } = machine;
  const fact = (section: string, about: string, value: string): Fact => ({ section, about, value });
  return [
    fact("MACHINE", "engine", machine.engine),
    ...(exits === null
      ? []
      : Object.entries(exits).map(([name, count]) => fact("MACHINE", `exits: ${name}`, String(count)))),
    fact("MACHINE", "monitor reads", times(systemCalls.reads)),
    fact("MACHINE", "monitor writes", times(systemCalls.writes)),
    ...machine.threads.map(({ kind, count, calls }) =>
      fact("MACHINE", `${kind} threads`, `${count}, which may ${calls.join(" ")}`),
    ),
    ...machine.uncounted.map((what) => fact("MACHINE", "not counted", what)),
    ...machine.channels.map(({ kind, name, at, queues, uses }) =>
      fact(
        "CHANNELS",
        `${name} ${kind}`,
        [...(at === null ? [] : [at]), ...(queues === null ? [] : [`${queues} queues`]), times(uses)].join(", "),
      ),
    ),
    ...machine.files.map(({ target, mode, count }) => fact("OPEN FILES", target, `${mode} ${count}`)),
  ];
};

/** Everything a view says, one fact a line, in the order in which people ask. */
export const factsOf = (view: InstanceView): Fact[] => [
  ...machineFacts(view),
  ...mountFacts(view),
  ...view.namespaces.map((namespace) => ({
    section: "NAMESPACES",
    about: namespace.type,
    value: `${namespace.inode} ${company(namespace)}`,
  })),
  ...view.devices.nodes.map(({ path, kind, major, minor, mode }) => ({
    section: "DEVICES",
    about: path,
    value: `${kind === "character" ? "c" : "b"} ${major}:${minor} ${mode}`,
  })),
  { section: "PRIVILEGES", about: "user", value: `${view.ids.uid ?? "nobody"}:${view.ids.gid ?? "nobody"}` },
  { section: "PRIVILEGES", about: "no new privileges", value: view.security.noNewPrivileges ? "yes" : "no" },
  { section: "PRIVILEGES", about: "security label", value: view.security.label ?? "none" },
  {
    section: "PRIVILEGES",
    about: "writes",
    value: view.security.writable === null ? "not confined" : ["/dev", "/proc", ...view.security.writable].join(" "),
  },
  { section: "PRIVILEGES", about: "capabilities", value: view.capabilities.effective.join(" ") || "none" },
  ...seccompFacts(view),
  ...view.sockets.map(({ protocol, address }) => ({ section: "LISTENS", about: address, value: protocol })),
  ...view.limits.map(({ controller, file, value }) => ({
    section: "LIMITS",
    about: file,
    value: `${value} (${controller})`,
  })),
];

/** What is not alike in two views; namespaces count by whom they are shared with, since their numbers always differ. */
export interface Difference extends Omit<Fact, "value"> {
  readonly left: string;
  readonly right: string;
}

const comparable = (view: InstanceView): Fact[] => [
  ...factsOf(view).map((fact) =>
    fact.section === "NAMESPACES" ? { ...fact, value: fact.value.replace(/^\d+ /, "") } : fact,
  ),
  ...view.seccomp.allowed.map((name) => ({ section: "SYSTEM CALLS", about: name, value: "allowed" })),
];

const keyOf = ({ section, about }: Fact): string => `${section}\0${about}`;

export const differences = (left: InstanceView, right: InstanceView): Difference[] => {
  const [ours, theirs] = [left, right].map((view) => Map.groupBy(comparable(view), keyOf));
  const text = (facts: readonly Fact[] | undefined): string => facts?.map(({ value }) => value).join(", ") ?? "-";
  const keys = new Set([...(ours?.keys() ?? []), ...(theirs?.keys() ?? [])]);
  return [...keys].flatMap((key) => {
    const [section = "", about = ""] = key.split("\0");
    const found = { section, about, left: text(ours?.get(key)), right: text(theirs?.get(key)) };
    return found.left === found.right ? [] : [found];
  });
};
