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

/** The entries that were named; undefined when none was. */
const named = <Members extends object>(members: Members): Partial<Members> | undefined => {
  const given = Object.entries(members).filter(([, value]) => value !== undefined);
  return given.length === 0 ? undefined : (Object.fromEntries(given) as Partial<Members>);
};

/** Only what was named, so that other limits stay. Throws UsageError when nothing was named. */
export const patchOf = (options: OptionValues): PatchWorkload => {
  const text = (name: string): string | undefined => options.text(name);
  const required = <Value>(name: string, parse: (text: string, name: string) => Value): Value | undefined => {
    const value = text(name);
    return value === undefined ? undefined : parse(value, name);
  };
  const optional = <Value>(name: string, parse: (text: string, name: string) => Value): Value | null | undefined =>
    limit(text(name), (value) => parse(value, name));
  const io = named({
    readBytesPerSec: optional("io-read", parseBytes),
    writeBytesPerSec: optional("io-write", parseBytes),
    readOpsPerSec: optional("io-read-ops", parseCount),
    writeOpsPerSec: optional("io-write-ops", parseCount),
    weight: optional("io-weight", parseCount),
  });
  const resources = named({
    cpuMillis: required("cpu", parseCpu),
    cpuLimitMillis: optional("cpu-limit", parseCpu),
    memoryBytes: required("memory", parseBytes),
    memoryReservationBytes: optional("memory-reservation", parseBytes),
    pidsMax: optional("pids", parseCount),
    io,
  });
  const replicas = required("replicas", parseCount);
  const spec = named({ resources, replicas });
  if (spec === undefined) {
    throw new UsageError(
      "Name at least one of --cpu, --cpu-limit, --memory, --memory-reservation, --pids, --io-… and --replicas.",
    );
  }
  return { spec } as PatchWorkload;
};

/** The workload meant: an instance's name stands for its workload, because a workload's copies are alike. */
const workloadName = async (invocation: Invocation, word: string): Promise<string> => {
  const client = invocation.client();
  try {
    return (await client.workloads.get(word)).name;
  } catch (error) {
    if (!isFleetError(error) || error.code !== "NOT_FOUND") throw error;
  }
  try {
    return (await client.instances.get(word)).workloadName;
  } catch (error) {
    if (!isFleetError(error) || error.code !== "NOT_FOUND") throw error;
    throw fleetError("NOT_FOUND", `There is no workload and no instance ${word}.`, { cause: error });
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
  const [word = ""] = invocation.positionals;
  const client = invocation.client();
  const name = await workloadName(invocation, word);
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
