import type { Instance, PatchWorkload } from "@bulkhead/contracts";
import { fleetError, isFleetError } from "@bulkhead/contracts/errors";
import { exitCodes } from "../failure.ts";
import { type Invocation, type OptionValues, type Run, UsageError } from "../command.ts";
import { printList } from "../output.ts";
import { formatBytes, formatCpu, parseBytes, parseCount, parseCpu, parseDuration } from "../quantity.ts";
import { runDefaults } from "../run-defaults.ts";
import { followOperation } from "./follow-operation.ts";

/** `none` removes a limit; anything else is parsed. */
const limit = <Value>(text: string | undefined, parse: (text: string) => Value): Value | null | undefined =>
  text === undefined ? undefined : text === "none" ? null : parse(text);

/** Only what was named, so that other limits stay. Throws UsageError when nothing was named. */
export const patchOf = (options: OptionValues): PatchWorkload => {
  const given = {
    cpuMillis: options.text("cpu") === undefined ? undefined : parseCpu(options.text("cpu") ?? "", "cpu"),
    cpuLimitMillis: limit(options.text("cpu-limit"), (text) => parseCpu(text, "cpu-limit")),
    memoryBytes: options.text("memory") === undefined ? undefined : parseBytes(options.text("memory") ?? "", "memory"),
    pidsMax: limit(options.text("pids"), (text) => parseCount(text, "pids")),
  };
  const replicas = options.text("replicas");
  const resources = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  if (Object.keys(resources).length === 0 && replicas === undefined) {
    throw new UsageError("Name at least one of --cpu, --cpu-limit, --memory, --pids and --replicas.");
  }
  return {
    spec: {
      ...(Object.keys(resources).length === 0 ? {} : { resources }),
      ...(replicas === undefined ? {} : { replicas: parseCount(replicas, "replicas") }),
    },
  };
};

/** The workload meant: an instance's name stands for its workload, because a workload's copies are alike. */
const workloadName = async (invocation: Invocation, named: string): Promise<string> => {
  const client = invocation.client();
  try {
    return (await client.workloads.get(named)).name;
  } catch (error) {
    if (!isFleetError(error) || error.code !== "NOT_FOUND") throw error;
  }
  try {
    return (await client.instances.get(named)).workloadName;
  } catch (error) {
    if (!isFleetError(error) || error.code !== "NOT_FOUND") throw error;
    throw fleetError("NOT_FOUND", `There is no workload and no instance ${named}.`, { cause: error });
  }
};

const columns = [
  { title: "INSTANCE", value: (row: Instance) => row.name },
  { title: "CPU", value: (row: Instance) => formatCpu(row.resources.cpuMillis) },
  {
    title: "LIMIT",
    value: ({ resources }: Instance) =>
      resources.cpuLimitMillis === undefined ? "-" : formatCpu(resources.cpuLimitMillis),
  },
  { title: "MEMORY", value: (row: Instance) => formatBytes(row.resources.memoryBytes) },
  { title: "RESIZE", value: (row: Instance) => row.resize?.outcome ?? "-" },
  { title: "WHY", value: (row: Instance) => row.resize?.detail ?? "" },
];

/** `bulkhead resize WORKLOAD …` */
export const run: Run = async (invocation) => {
  const { options } = invocation;
  const patch = patchOf(options);
  const [named = ""] = invocation.positionals;
  const client = invocation.client();
  const name = await workloadName(invocation, named);
  const operation = await client.workloads.patch(name, patch);
  if (options.given("wait") === false) return exitCodes.ok.code;
  await followOperation(invocation, {
    doing: `Resizing ${name}`,
    operation,
    timeoutMs: parseDuration(options.text("timeout") ?? runDefaults.timeout, "timeout"),
  });
  const instances = await Array.fromAsync(client.instances.list({ workload: name }));
  await printList(invocation, columns, instances);
  return instances.every(({ resize }) => resize === null || resize.outcome === "applied")
    ? exitCodes.ok.code
    : exitCodes.conflict.code;
};
