// The other agent of a host, reduced to its runtime, in a process that its test can kill: does what each message asks for.
import type { Assignment, InstanceId } from "@bulkhead/contracts";
import { MountAllowList, type HostPaths } from "@bulkhead/host";
import type { EnsuredImage } from "@bulkhead/images";
import { StartFailure } from "@bulkhead/node";
import { ContractWatch } from "./contract-watch.ts";
import type { ContainerRun } from "../run.ts";
import { ContainerRuntime } from "../runtime.ts";

export type CpuOrder =
  | { readonly do: "open"; readonly paths: HostPaths; readonly image: EnsuredImage }
  /** `monitor`: as a program of ours that may use the shared CPUs, too */
  | { readonly do: "start"; readonly assignment: Assignment; readonly monitor: boolean }
  | { readonly do: "end"; readonly instanceId: InstanceId }
  | { readonly do: "adopt" }
  /** CPUs beside its own, as a run was told of at each change */
  | { readonly do: "heard"; readonly instanceId: InstanceId }
  /** all contracts, checked over and over since this agent was opened */
  | { readonly do: "contracts" };

export type CpuReply =
  | { readonly pids: Readonly<Record<InstanceId, number>> }
  | { readonly heard: readonly (readonly number[])[] }
  | { readonly checks: number; readonly violations: readonly string[] };

let runtime: ContainerRuntime;
let image: EnsuredImage;
const runs = new Map<InstanceId, ContainerRun>();
const heard = new Map<InstanceId, (readonly number[])[]>();
const contracts = new ContractWatch(() => runs.values());

const keep = (run: ContainerRun): void => {
  const { instanceId } = run.key;
  const told: (readonly number[])[] = [];
  run.onCpusChanged = () => told.push(run.sharedCpus().cpus);
  runs.set(instanceId, run);
  heard.set(instanceId, told);
};

const open = async (paths: HostPaths): Promise<void> => {
  runtime = await ContainerRuntime.open({
    paths,
    images: { ensure: async () => image },
    mountAllowList: MountAllowList.parse(""),
    log: { warn: (fields, message) => console.error(message, fields) },
  });
};

const start = async (assignment: Assignment, monitor: boolean): Promise<void> => {
  const key = { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt: 0 };
  const { signal } = new AbortController();
  const program = { root: image.layers, args: ["/bin/sleep", "1000"], files: [], devices: [], sharesCpus: true };
  keep(
    await (monitor
      ? runtime.confine({ key, assignment, program }, signal)
      : runtime.start({ key, assignment }, signal)),
  );
};

const end = async (instanceId: InstanceId): Promise<void> => {
  const run = runs.get(instanceId);
  await run?.stop(0);
  runs.delete(instanceId);
  await run?.release();
  await runtime.remove(instanceId);
};

const obey = async (order: CpuOrder): Promise<CpuReply> => {
  if (order.do === "open") {
    ({ image } = order);
    await open(order.paths);
  }
  if (order.do === "start") await start(order.assignment, order.monitor);
  if (order.do === "end") await end(order.instanceId);
  if (order.do === "adopt") for (const run of await runtime.list()) keep(run);
  if (order.do === "heard") return { heard: heard.get(order.instanceId) ?? [] };
  if (order.do === "contracts") return contracts;
  return { pids: Object.fromEntries([...runs].map(([instanceId, { pid }]) => [instanceId, pid ?? 0])) };
};

process.on("message", ({ id, order }: { id: number; order: CpuOrder }) => {
  obey(order).then(
    (reply) => process.send?.({ id, reply }),
    (error: unknown) => {
      const failed = error instanceof StartFailure ? error.reason : String((error as Error).stack);
      process.send?.({ id, reply: { failed } });
    },
  );
});
process.on("disconnect", () => process.exit());
