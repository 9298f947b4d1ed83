import type { Client } from "@bulkhead/client";
import type { Instance } from "@bulkhead/contracts";
import { fleetError, isFleetError } from "@bulkhead/contracts/errors";
import type { Invocation } from "../command.ts";
import { printNamed, printObject } from "../output.ts";
import { formatAge, formatBytes, formatCpu } from "../quantity.ts";

const orUndefined = async <T>(reading: Promise<T>): Promise<T | undefined> => {
  try {
    return await reading;
  } catch (error) {
    if (isFleetError(error) && error.code === "NOT_FOUND") return undefined;
    throw error;
  }
};

/** The instance of this name or id, or every instance of the workload of this name or id. Throws NOT_FOUND. */
export const findInstances = async (client: Client, named: string): Promise<readonly Instance[]> => {
  const instance = await orUndefined(client.instances.get(named));
  if (instance !== undefined) return [instance];
  const workload = await orUndefined(client.workloads.get(named));
  if (workload === undefined) throw fleetError("NOT_FOUND", `There is no instance and no workload ${named}.`);
  return Array.fromAsync(client.instances.list({ workload: workload.id }));
};

/** The one instance meant; of a workload the only one, or the first that runs. Throws NOT_FOUND. */
export const findInstance = async (client: Client, named: string): Promise<Instance> => {
  const found = await findInstances(client, named);
  const chosen = found.find(({ state }) => state === "running") ?? found[0];
  if (chosen === undefined) throw fleetError("NOT_FOUND", `Workload ${named} has no instances.`);
  return chosen;
};

/** Why it is where it is: reason and detail, or each host's reason while it waits. */
export const explain = (instance: Instance): string => {
  if (instance.state === "pending" && instance.rejections.length > 0) {
    return instance.rejections.map(({ hostName, reason }) => `${hostName}: ${reason}`).join("; ");
  }
  const { reason, detail } = instance;
  if (reason === null) return "";
  return detail === null ? reason : `${reason}: ${detail}`;
};

const columns = (now: number) => [
  { title: "INSTANCE", value: (row: Instance) => row.name },
  { title: "STATE", value: (row: Instance) => row.state },
  { title: "HOST", value: (row: Instance) => row.hostName ?? "-" },
  { title: "CPU", value: (row: Instance) => cpuOf(row) },
  { title: "MEMORY", value: (row: Instance) => formatBytes(row.resources.memoryBytes) },
  { title: "ADDRESS", value: (row: Instance) => row.network?.ipv4?.address ?? row.network?.ipv6?.address ?? "-" },
  { title: "PORTS", value: (row: Instance) => portsOf(row) },
  { title: "RESTARTS", value: (row: Instance) => String(row.restarts) },
  { title: "AGE", value: (row: Instance) => formatAge(row.createdAt, now) },
  { title: "WHY", value: (row: Instance) => explain(row) },
];

/** What runs each and on what, for those who look closer. */
const wideColumns = [
  { title: "ISOLATION", value: ({ isolation }: Instance) => isolation },
  { title: "ENGINE", value: ({ machine }: Instance) => machine?.engine ?? "-" },
  { title: "KERNEL", value: ({ machine }: Instance) => machine?.kernel ?? "-" },
  { title: "CPUS", value: ({ machine }: Instance) => machine?.cpuIds.join(",") || "-" },
  { title: "LOCKED", value: ({ machine }: Instance) => (machine === undefined ? "-" : lockedOf(machine)) },
];

const lockedOf = ({ memoryPolicy }: NonNullable<Instance["machine"]>): string =>
  memoryPolicy === "locked" ? "yes" : "no";

const portsOf = ({ network }: Instance): string =>
  (network?.ports ?? [])
    .map(
      ({ hostAddress, hostPort, containerPort, protocol }) =>
        `${hostAddress === null ? "" : `${hostAddress}:`}${hostPort}->${containerPort}${protocol === "udp" ? "/udp" : ""}`,
    )
    .join(" ") || "-";

const cpuOf = ({ resources }: Instance): string =>
  resources.cpuLimitMillis === undefined
    ? formatCpu(resources.cpuMillis)
    : `${formatCpu(resources.cpuMillis)} (limit ${formatCpu(resources.cpuLimitMillis)})`;

/** `bulkhead ps [WORKLOAD]` */
export const ps = async (invocation: Invocation): Promise<void> => {
  const [workload] = invocation.positionals;
  const { instances } = invocation.client();
  const rows = await Array.fromAsync(instances.list(workload === undefined ? {} : { workload }));
  const shown = columns(Date.now());
  const asked = invocation.options.flag("wide") ? [...shown, ...wideColumns] : shown;
  await printNamed(invocation, asked, rows, ({ name }) => name);
};

/** `bulkhead inspect NAME` */
export const inspect = async (invocation: Invocation): Promise<void> => {
  const [named = ""] = invocation.positionals;
  const client = invocation.client();
  const instance = await orUndefined(client.instances.get(named));
  if (instance !== undefined) return printObject(invocation, instance);
  const workload = await orUndefined(client.workloads.get(named));
  if (workload === undefined) throw fleetError("NOT_FOUND", `There is no instance and no workload ${named}.`);
  const instances = await Array.fromAsync(client.instances.list({ workload: workload.id }));
  return printObject(invocation, { ...workload, instances });
};
