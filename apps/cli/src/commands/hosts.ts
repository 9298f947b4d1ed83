import type { Host } from "@bulkhead/contracts";
import type { Invocation, Run } from "../command.ts";
import { printNamed, printObject } from "../output.ts";
import { formatBytes, formatCpu } from "../quantity.ts";

const sum = (host: Host, of: (facts: Host["agents"][number]["facts"]) => number): number =>
  Math.max(0, ...host.agents.map(({ facts }) => of(facts)));

const remarks = (host: Host): string =>
  [
    ...(host.cordoned ? ["cordoned"] : []),
    ...(host.foreignClusterId === null ? [] : [`obeys another control plane (${host.foreignClusterId})`]),
    ...(host.unknownInstances.length === 0 ? [] : [`${host.unknownInstances.length} unknown instances`]),
    ...host.agents.flatMap(({ facts }) => facts.problems),
  ].join("; ");

const columns = [
  { title: "HOST", value: (row: Host) => row.name },
  { title: "STATE", value: (row: Host) => row.state },
  { title: "RUNS", value: (row: Host) => row.agents.map(({ isolation }) => isolation).join(", ") },
  {
    title: "CPU",
    value: (row: Host) =>
      `${formatCpu(row.allocated.cpuMillis)}/${formatCpu(sum(row, ({ capacity }) => capacity.cpuMillis))}`,
  },
  {
    title: "MEMORY",
    value: (row: Host) =>
      `${formatBytes(row.allocated.memoryBytes)}/${formatBytes(sum(row, ({ capacity }) => capacity.memoryBytes))}`,
  },
  { title: "INSTANCES", value: (row: Host) => String(row.allocated.instances) },
  { title: "REMARKS", value: remarks },
];

/** `bulkhead hosts` */
export const list = async (invocation: Invocation): Promise<void> => {
  const rows = await Array.fromAsync(invocation.client().hosts.list());
  await printNamed(invocation, columns, rows, ({ name }) => name);
};

/** `bulkhead hosts inspect HOST` */
export const inspect = async (invocation: Invocation): Promise<void> => {
  await printObject(invocation, await invocation.client().hosts.get(invocation.positionals[0] ?? ""));
};

/** `bulkhead hosts cordon HOST` and `uncordon`: whether it takes new instances. */
export const cordonCommand =
  (cordoned: boolean): Run =>
  async (invocation) => {
    for (const host of invocation.positionals) {
      await invocation.client().hosts.patch(host, { cordoned });
      invocation.print(`${host} ${cordoned ? "takes no new instances" : "takes instances"}\n`);
    }
  };
