import type { Snapshot } from "@bulkhead/contracts";
import type { Invocation } from "../command.ts";
import { printNamed, printObject } from "../output.ts";
import { formatAge, formatBytes, parseCount, parseDuration } from "../quantity.ts";
import { runDefaults } from "../run-defaults.ts";
import { describeInstances, followOperation } from "./follow-operation.ts";

const columns = (now: number) => [
  { title: "SNAPSHOT", value: (row: Snapshot) => row.id },
  { title: "OF", value: (row: Snapshot) => row.instanceName },
  { title: "STATE", value: (row: Snapshot) => row.state },
  { title: "SIZE", value: (row: Snapshot) => (row.sizeBytes === null ? "-" : formatBytes(row.sizeBytes)) },
  { title: "HOST", value: (row: Snapshot) => row.hostName },
  { title: "COPIES", value: (row: Snapshot) => String(row.copies) },
  { title: "AGE", value: (row: Snapshot) => formatAge(row.createdAt, now) },
];

const timeoutOf = ({ options }: Invocation): number =>
  parseDuration(options.text("timeout") ?? runDefaults.timeout, "timeout");

/** `bulkhead snapshots` */
export const list = async (invocation: Invocation): Promise<void> => {
  const rows = await Array.fromAsync(invocation.client().snapshots.list());
  await printNamed(invocation, columns(Date.now()), rows, ({ id }) => id);
};

/** `bulkhead snapshots inspect SNAPSHOT` */
export const inspect = async (invocation: Invocation): Promise<void> => {
  await printObject(invocation, await invocation.client().snapshots.get(invocation.positionals[0] ?? ""));
};

/** `bulkhead snapshots create NAME` */
export const create = async (invocation: Invocation): Promise<void> => {
  const [name = ""] = invocation.positionals;
  const client = invocation.client();
  const operation = await client.snapshots.create(name);
  const { id } = operation.target;
  if (invocation.options.given("wait") !== false) {
    await followOperation(invocation, {
      doing: `Taking ${name}`,
      operation,
      timeoutMs: timeoutOf(invocation),
      look: async (api) => (await api.snapshots.get(id)).state,
    });
  }
  if (invocation.format === "table") invocation.print(`${id}\n`);
  else await printObject(invocation, await client.snapshots.get(id));
};

/** `bulkhead snapshots restore SNAPSHOT` */
export const restore = async (invocation: Invocation): Promise<void> => {
  const [snapshot = ""] = invocation.positionals;
  const { options } = invocation;
  const [copies, name] = [options.text("copies"), options.text("name")];
  const client = invocation.client();
  const operation = await client.snapshots.restore(snapshot, {
    ...(copies === undefined ? {} : { copies: parseCount(copies, "copies") }),
    ...(name === undefined ? {} : { name }),
  });
  const { id } = operation.target;
  if (options.given("wait") !== false) {
    await followOperation(invocation, {
      doing: `Restoring ${snapshot}`,
      operation,
      timeoutMs: timeoutOf(invocation),
      look: async (api) => describeInstances(await Array.fromAsync(api.instances.list({ workload: id }))),
    });
  }
  const workload = await client.workloads.get(id);
  if (invocation.format === "table") invocation.print(`${workload.name}\n`);
  else await printObject(invocation, workload);
};

/** `bulkhead snapshots verify SNAPSHOT` */
export const verify = async (invocation: Invocation): Promise<void> => {
  const [snapshot = ""] = invocation.positionals;
  const client = invocation.client();
  const operation = await client.snapshots.verify(snapshot);
  if (invocation.options.given("wait") !== false) {
    await followOperation(invocation, {
      doing: `Verifying ${snapshot}`,
      operation,
      timeoutMs: timeoutOf(invocation),
      look: async (api) => (await api.snapshots.get(snapshot)).state,
    });
  }
  if (invocation.format === "table") invocation.print(`${snapshot}\n`);
  else await printObject(invocation, await client.snapshots.get(snapshot));
};

/** `bulkhead snapshots rm SNAPSHOT…` */
export const remove = async (invocation: Invocation): Promise<void> => {
  for (const snapshot of invocation.positionals) {
    await invocation.client().snapshots.remove(snapshot);
    invocation.print(`${snapshot} is removed by its host\n`);
  }
};
