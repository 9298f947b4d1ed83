import { randomBytes } from "node:crypto";
import type { Client } from "@bulkhead/client";
import type { BindMount, CreateWorkload, Instance, RestartPolicy, TemporaryDirectory } from "@bulkhead/contracts";
import { isFleetError } from "@bulkhead/contracts/errors";
import { type Invocation, type OptionValues, UsageError } from "../command.ts";
import { formatValue, printObject } from "../output.ts";
import { runDefaults } from "../run-defaults.ts";
import { parseBytes, parseCount, parseCpu, parseDuration } from "../quantity.ts";
import { describeInstances, followOperation } from "./follow-operation.ts";
import { explain } from "./instances.ts";
import { parseShare } from "./shares.ts";
import { parseBitRate, parsePublish } from "./publish.ts";

/** `HOST:PATH[:rw|ro]`; read-only unless `rw`. */
export const parseMount = (text: string): BindMount => {
  const [hostPath = "", path = "", mode = "ro", extra] = text.split(":");
  if (!hostPath.startsWith("/") || !path.startsWith("/") || (mode !== "ro" && mode !== "rw") || extra !== undefined) {
    throw new UsageError(`--mount ${text}: write /HOST/DIRECTORY:/PATH or /HOST/DIRECTORY:/PATH:rw.`);
  }
  return { hostPath, path, readOnly: mode === "ro" };
};

/** `PATH:SIZE[:exec]`; programs cannot be run from it unless `exec`. */
export const parseTmpfs = (text: string): TemporaryDirectory => {
  const [path = "", size = "", mode, extra] = text.split(":");
  if (!path.startsWith("/") || size === "" || (mode !== undefined && mode !== "exec") || extra !== undefined) {
    throw new UsageError(`--tmpfs ${text}: write /PATH:SIZE or /PATH:SIZE:exec.`);
  }
  return { path, sizeBytes: parseBytes(size, "tmpfs"), ...(mode === undefined ? {} : { executable: true }) };
};

/** `NAME=VALUE`, or `NAME` for the value it has here. */
export const parseEnvironment = (
  entries: readonly string[],
  here: Readonly<Record<string, string | undefined>>,
  option = "env",
): Record<string, string> =>
  Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf("=");
      const name = at < 0 ? entry : entry.slice(0, at);
      const value = at < 0 ? here[name] : entry.slice(at + 1);
      if (name === "" || value === undefined) throw new UsageError(`--${option} ${entry}: write NAME=VALUE.`);
      return [name, value];
    }),
  );

const parseRestart = (text: string): RestartPolicy => {
  const [policy, most, extra] = text.split(":");
  if ((policy !== "always" && policy !== "on-failure" && policy !== "never") || extra !== undefined) {
    throw new UsageError(`--restart ${text}: use always, on-failure, on-failure:TIMES or never.`);
  }
  return { policy, ...(most === undefined ? {} : { maxRestarts: parseCount(most, "restart") }) };
};

/** A name for a workload nobody named: of the image, with four digits against clashes. */
const nameFor = (image: string): string => {
  const base = (image.split("/").at(-1) ?? image).split(/[:@]/)[0] ?? "";
  const clean = base
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]/g, "-")
    .replaceAll(/^-+|-+$/g, "")
    .slice(0, 50);
  return `${clean === "" ? "workload" : clean}-${randomBytes(2).toString("hex")}`;
};

const optional = <Value>(key: string, value: Value | undefined): Record<string, Value> =>
  value === undefined ? {} : { [key]: value };

/** The request body of a `run` command line. */
export const workloadOf = (
  image: string,
  rest: readonly string[],
  options: OptionValues,
  environment: Readonly<Record<string, string | undefined>>,
): CreateWorkload => {
  const limit = options.text("cpu-limit");
  const mounts = options.list("mount").map(parseMount);
  const tmpfs = options.list("tmpfs").map(parseTmpfs);
  const shares = options.list("share").map(parseShare);
  const env = parseEnvironment(options.list("env"), environment);
  const labels = parseEnvironment(options.list("label"), {}, "label");
  const restart = options.text("restart");
  const pids = options.text("pids");
  const disk = options.text("disk");
  const replicas = options.text("replicas");
  const grace = options.text("stop-grace");
  const ports = options.list("publish").map(parsePublish);
  const [ingress, egress] = [options.text("ingress"), options.text("egress")];
  const bandwidth = {
    ...(ingress === undefined ? {} : { ingressBitsPerSec: parseBitRate(ingress, "ingress") }),
    ...(egress === undefined ? {} : { egressBitsPerSec: parseBitRate(egress, "egress") }),
  };
  const kernel = options.text("kernel");
  const writable = options.list("writable");
  const container = {
    ...(options.flag("read-only") ? { readOnlyRoot: true } : {}),
    ...(writable.length === 0 ? {} : { writable: [...writable] }),
  };
  return {
    name: options.text("name") ?? nameFor(image),
    spec: {
      image,
      ...optional("isolation", options.text("isolation") as "container" | "vm" | undefined),
      ...(rest.length === 0 ? {} : options.flag("keep-entrypoint") ? { args: [...rest] } : { command: [...rest] }),
      ...(Object.keys(env).length === 0 ? {} : { env }),
      ...optional("workingDir", options.text("workdir")),
      ...optional("user", options.text("user")),
      resources: {
        cpuMillis: parseCpu(options.text("cpu") ?? runDefaults.cpu, "cpu"),
        ...(limit === undefined ? {} : { cpuLimitMillis: parseCpu(limit, "cpu-limit") }),
        memoryBytes: parseBytes(options.text("memory") ?? runDefaults.memory, "memory"),
        ...(pids === undefined ? {} : { pidsMax: parseCount(pids, "pids") }),
        ...(disk === undefined ? {} : { diskBytes: parseBytes(disk, "disk") }),
      },
      ...(restart === undefined ? {} : { restart: parseRestart(restart) }),
      ...(replicas === undefined ? {} : { replicas: parseCount(replicas, "replicas") }),
      ...(mounts.length === 0 ? {} : { mounts }),
      ...(tmpfs.length === 0 ? {} : { tmpfs }),
      ...(shares.length === 0 ? {} : { shares }),
      ...optional("network", options.text("network")),
      ...(ports.length === 0 ? {} : { ports }),
      ...(Object.keys(bandwidth).length === 0 ? {} : { bandwidth }),
      ...(grace === undefined ? {} : { stopGraceMs: parseDuration(grace, "stop-grace") }),
      ...(Object.keys(container).length === 0 ? {} : { container }),
      ...(kernel === undefined ? {} : { vm: { kernel } }),
      ...(Object.keys(labels).length === 0 ? {} : { labels }),
    },
  };
};

const tailOfLog = async (client: Client, instance: Instance): Promise<string> => {
  try {
    const chunks = await Array.fromAsync(await client.instances.logs(instance.name, { tail: 10 }));
    return Buffer.concat(chunks).toString();
  } catch (error) {
    // The log is a help beside the failure that is being told; its own failure is not news.
    if (isFleetError(error)) return "";
    throw error;
  }
};

const listInstances = (client: Client, workloadId: string): Promise<Instance[]> =>
  Array.fromAsync(client.instances.list({ workload: workloadId }));

/** `bulkhead run IMAGE …` */
export const run = async (invocation: Invocation): Promise<number> => {
  const { options, rest, say } = invocation;
  const [image = ""] = invocation.positionals;
  const client = invocation.client();
  const body = workloadOf(image, rest, options, invocation.environment);
  if (options.flag("dry-run")) {
    await printObject(invocation, await client.workloads.plan(body));
    return 0;
  }
  const operation = await client.workloads.create(body);
  const workloadId = operation.target.id;
  if (options.given("wait") !== false) {
    try {
      await followOperation(invocation, {
        doing: `Starting ${body.name}`,
        operation,
        timeoutMs: parseDuration(options.text("timeout") ?? runDefaults.timeout, "timeout"),
        look: async (api) => describeInstances(await listInstances(api, workloadId)),
      });
    } catch (error) {
      for (const instance of await listInstances(client, workloadId)) {
        if (instance.state === "running") continue;
        say(`${instance.name} is ${instance.state}${explain(instance) === "" ? "" : `: ${explain(instance)}`}`);
        const log = await tailOfLog(client, instance);
        if (log !== "") say(`the end of its log:\n${log.trimEnd().replaceAll(/^/gm, "  ")}`);
      }
      say(`The workload ${body.name} stays; \`bulkhead rm ${body.name}\` removes it.`);
      throw error;
    }
  }
  const instances = await listInstances(client, workloadId);
  if (invocation.format === "table") invocation.print(instances.map(({ name }) => `${name}\n`).join(""));
  else
    invocation.print(
      await formatValue({ workload: await client.workloads.get(workloadId), instances }, invocation.format),
    );
  return 0;
};
