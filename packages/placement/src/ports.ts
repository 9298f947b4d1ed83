import type { AssignedPort, PublishedPort } from "@bulkhead/contracts";

/** A port of a host that leads to an instance; `hostAddress` null: at every address. */
export type HeldPort = Pick<AssignedPort, "hostPort" | "protocol" | "hostAddress">;

/** Ports given to those who ask for none in particular: above what services use, below what the kernel gives clients. */
const firstFree = 30_000;
const lastFree = 32_767;

const clashes = (a: HeldPort, b: HeldPort): boolean =>
  a.hostPort === b.hostPort &&
  a.protocol === b.protocol &&
  (a.hostAddress === null || b.hostAddress === null || a.hostAddress === b.hostAddress);

const spelled = ({ protocol, hostPort, hostAddress }: HeldPort): string =>
  `${protocol} port ${hostPort}${hostAddress === null ? "" : ` at ${hostAddress}`}`;

/** Host ports for what is wanted beside what is held, or why there are none. */
export const choosePorts = (
  wanted: readonly PublishedPort[],
  held: readonly HeldPort[],
): readonly AssignedPort[] | string => {
  const chosen: AssignedPort[] = [];
  const isTaken = (port: HeldPort): boolean =>
    held.some((other) => clashes(port, other)) || chosen.some((other) => clashes(port, other));
  // Those who name a port come first, so that a chosen one is never theirs.
  const named = wanted.filter(({ hostPort }) => hostPort !== undefined);
  for (const { containerPort, protocol = "tcp", hostAddress = null, hostPort } of named) {
    const port = { containerPort, protocol, hostAddress, hostPort: hostPort ?? 0 };
    if (isTaken(port)) return `its ${spelled(port)} is taken`;
    chosen.push(port);
  }
  for (const { containerPort, protocol = "tcp", hostAddress = null } of wanted.filter(
    (port) => port.hostPort === undefined,
  )) {
    let hostPort = firstFree;
    while (hostPort <= lastFree && isTaken({ protocol, hostAddress, hostPort })) hostPort += 1;
    if (hostPort > lastFree) return `none of its ports ${firstFree} to ${lastFree} is free`;
    chosen.push({ containerPort, protocol, hostAddress, hostPort });
  }
  return chosen;
};
