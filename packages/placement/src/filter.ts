import { agentOf, type FleetAgent, type FleetHost } from "./fleet.ts";
import type { Cost } from "./cost.ts";
import type { Demand, ShareDemand } from "./demand.ts";
import type { Room } from "./room.ts";

const covers = (enforceable: readonly string[], field: string): boolean =>
  enforceable.some((known) => known === field || field.startsWith(`${known}.`));

const isBelow = (directory: string, path: string): boolean => {
  const base = directory.replace(/\/+$/, "");
  return path === base || path.startsWith(`${base}/`);
};

/** A path with `..` or `.` in it may lead anywhere; the API refuses it, and so do we. */
const isAllowed = (agent: FleetAgent, path: string): boolean =>
  !path.split("/").some((part) => part === ".." || part === ".") &&
  agent.mountAllowList.some((directory) => isBelow(directory, path));

/**
 * Why a host can never take this demand in its present form, whatever is running there; undefined when it could.
 * Stages in the order in which a person would look: state, kind, labels, abilities.
 */
export const unsuitable = (host: FleetHost, demand: Demand): string | undefined => {
  const agent = agentOf(host, demand.isolation);
  if (host.cordoned) return "cordoned";
  if (agent === undefined) return `runs no ${demand.isolation} agent`;
  if (agent.foreign) return "obeys another control plane";
  if (agent.state !== "ready") return `its ${demand.isolation} agent is ${agent.state}`;
  for (const [key, value] of Object.entries(demand.hostLabels)) {
    if (host.labels[key] !== value) return `label ${key} is ${host.labels[key] ?? "not set"}, wanted ${value}`;
  }
  const field = demand.fields.find((wanted) => !covers(agent.enforceable, wanted));
  if (field !== undefined) return `cannot enforce ${field}`;
  if (demand.isolation === "vm" && agent.engines?.length === 0) return "has no engine for virtual machines";
  if (demand.hostNetwork === true && agent.hostNetwork !== true) return "does not allow its own network to instances";
  const path = demand.mountPaths.find((wanted) => !isAllowed(agent, wanted));
  if (path !== undefined) return `${path} is not below its mount allow-list`;
  if ((demand.snapshotHostId ?? host.id) !== host.id) return "its snapshot lies on another host";
  return elsewhere(host.id, demand.shares);
};

/** Why a share keeps its users from a host; undefined when none does. */
export const elsewhere = (
  hostId: string,
  shares: readonly ShareDemand[],
  pins: ReadonlyMap<string, string> = new Map(),
): string | undefined => {
  const share = shares.find((each) => {
    const pin = each.hostId ?? pins.get(each.shareId);
    return pin !== undefined && pin !== hostId;
  });
  return share === undefined ? undefined : `share ${share.name} lies on another host`;
};

const withMonitor = (all: number, demanded: number): string =>
  all === demanded ? "" : ` (${all - demanded} of it its monitor's)`;

/** Why what is left of a suitable host does not suffice for a demand that costs this much there; undefined when it does. */
export const insufficient = (room: Room, demand: Demand, cost: Cost): string | undefined => {
  if (room.cpuMillis < cost.cpuMillis) {
    const monitor = withMonitor(cost.cpuMillis, demand.cpuMillis);
    return `needs ${cost.cpuMillis} CPU millis${monitor}, ${room.cpuMillis} are free`;
  }
  if (room.memoryBytes < cost.memoryBytes) {
    const monitor = withMonitor(cost.memoryBytes, demand.memoryBytes);
    return `needs ${cost.memoryBytes} bytes of memory${monitor}, ${room.memoryBytes} are free`;
  }
  if (room.instances < 1) return "has no room for another instance";
  if (room.dedicable < demand.dedicatedCpus) {
    return `needs ${demand.dedicatedCpus} whole CPUs, ${room.dedicable} can be dedicated`;
  }
  const { diskBytes = 0 } = demand;
  if (room.diskBytes < diskBytes) return `needs ${diskBytes} bytes of disk, ${room.diskBytes} are free`;
  return undefined;
};

/** The same question without words, for the inner loop. */
export const fits = (room: Room, demand: Demand, cost: Cost): boolean =>
  room.cpuMillis >= cost.cpuMillis &&
  room.memoryBytes >= cost.memoryBytes &&
  room.instances >= 1 &&
  room.dedicable >= demand.dedicatedCpus &&
  room.diskBytes >= (demand.diskBytes ?? 0);
