// An agent reduced to its runtime and its names, run in a network namespace of a test's: does what each line asks for.
import { createInterface } from "node:readline";
import type { Assignment, InstanceId, InstanceView } from "@bulkhead/contracts";
import { hostPaths, MountAllowList, NameResponder, type HostPaths } from "@bulkhead/host";
import type { EnsuredImage } from "@bulkhead/images";
import { StartFailure, type ContractCheck, type Run } from "@bulkhead/node";
import { ContainerRuntime } from "../runtime.ts";

export type NetworkOrder =
  | { readonly do: "open"; readonly paths: HostPaths; readonly image: EnsuredImage; readonly hostNetwork: boolean }
  | { readonly do: "start"; readonly assignment: Assignment; readonly attempt: number }
  | { readonly do: "adopt" }
  | { readonly do: "endNetworks" }
  /** `remove` false: it may start again */
  | { readonly do: "end"; readonly instanceId: InstanceId; readonly remove: boolean }
  | { readonly do: "look"; readonly instanceId: InstanceId }
  | { readonly do: "await"; readonly instanceId: InstanceId };

export type NetworkReply =
  | {
      readonly pid?: number;
      readonly runs?: readonly InstanceId[];
      readonly exitCode?: number | null;
      readonly output?: string;
      readonly contract?: ContractCheck;
      readonly view?: InstanceView;
    }
  | { readonly failed: string; readonly detail: string };

let runtime: ContainerRuntime | undefined;
const answering = new DisposableStack();
const runs = new Map<string, Run>();

const open = async ({ paths, image, hostNetwork }: Extract<NetworkOrder, { do: "open" }>): Promise<NetworkReply> => {
  runtime = await ContainerRuntime.open({
    paths: hostPaths(
      paths.state.split("/hosts/")[0] ?? "",
      paths.run.slice(0, paths.run.lastIndexOf("/")),
      paths.hostId,
    ),
    images: { ensure: async () => image },
    mountAllowList: MountAllowList.parse(""),
    hostNetwork,
    log: { warn: (fields, message) => console.error(message, fields) },
  });
  answering.use(
    new NameResponder({
      networks: runtime.networks,
      forward: null,
      log: { warn: (fields, message) => console.error(message, fields) },
    }),
  );
  return {};
};

const runOf = (instanceId: string): Run => {
  const run = runs.get(instanceId);
  if (run === undefined) throw new Error(`${instanceId} does not run here`);
  return run;
};

const obey = async (order: NetworkOrder): Promise<NetworkReply> => {
  if (order.do === "open") return open(order);
  if (runtime === undefined) throw new Error("not open");
  if (order.do === "start") {
    const { assignment, attempt } = order;
    const key = { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt };
    const run = await runtime.start({ key, assignment }, new AbortController().signal);
    runs.set(assignment.instanceId, run);
    return {};
  }
  if (order.do === "adopt") {
    for (const run of await runtime.list()) runs.set(run.key.instanceId, run);
    return { runs: [...runs.keys()] as InstanceId[] };
  }
  if (order.do === "endNetworks") {
    await runtime.networks.end();
    return {};
  }
  const run = runOf(order.instanceId);
  if (order.do === "look") return { contract: run.checkContract(), view: await run.view("plan") };
  if (order.do === "end") await run.stop(0);
  const ended = await run.ended;
  let output = "";
  for await (const line of runtime.logs(run.key.instanceId, { follow: false }, new AbortController().signal)) {
    output += `${Buffer.from(line.text).toString()}${line.complete ? "\n" : ""}`;
  }
  await run.release();
  if (order.do === "await" || order.remove) await runtime.remove(order.instanceId);
  runs.delete(order.instanceId);
  return { exitCode: ended.exit.exitCode, output };
};

for await (const line of createInterface({ input: process.stdin })) {
  const reply = await obey(JSON.parse(line) as NetworkOrder).catch((error: unknown): NetworkReply => ({
    failed: error instanceof StartFailure ? error.reason : "Error",
    detail: error instanceof Error ? (error.stack ?? error.message) : String(error),
  }));
  console.log(JSON.stringify(reply));
}
