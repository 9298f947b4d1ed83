// Both agents of a host, reduced to their runtimes and names, in a network of a test's: does what each message asks for.
import { existsSync, readFileSync } from "node:fs";
import { buffer } from "node:stream/consumers";
import {
  isFleetError,
  type AssignedShare,
  type Assignment,
  type HostId,
  type InstanceId,
  type Isolation,
  type SnapshotId,
} from "@bulkhead/contracts";
import { hostPaths, MountAllowList, NameResponder } from "@bulkhead/host";
import type { EnsuredImage } from "@bulkhead/images";
import { MachineRuntime } from "@bulkhead/kvm";
import { ContainerRuntime } from "@bulkhead/namespaces";
import { StartFailure, type Run, type Runtime } from "@bulkhead/node";
import { engineAt, testKernels } from "./machine-rig.ts";

/** How far something has come: this file is there, with this in it where that is asked for. */
export interface Mark {
  readonly path: string;
  readonly content?: string;
}

export type BothOrder =
  | {
      readonly do: "open";
      /** host directories that may be mounted, as BULKHEAD_MOUNT_ALLOW */
      readonly allowed: string;
      readonly root: string;
      readonly hostId: HostId;
      readonly image: EnsuredImage;
      readonly shared: string;
    }
  | { readonly do: "start"; readonly assignment: Assignment }
  | { readonly do: "exec"; readonly instanceId: InstanceId; readonly command: readonly string[] }
  | { readonly do: "reshare"; readonly instanceId: InstanceId; readonly shares: AssignedShare[] }
  | { readonly do: "pause"; readonly instanceId: InstanceId; readonly paused: boolean }
  | { readonly do: "await-end"; readonly instanceId: InstanceId }
  | { readonly do: "stop"; readonly instanceId: InstanceId; readonly graceMs: number }
  | { readonly do: "output"; readonly instanceId: InstanceId }
  | { readonly do: "end"; readonly instanceId: InstanceId }
  | { readonly do: "snapshot"; readonly instanceId: InstanceId; readonly snapshotId: SnapshotId }
  | { readonly do: "remove-snapshot"; readonly snapshotId: SnapshotId }
  | { readonly do: "adopt" }
  | { readonly do: "contract"; readonly instanceId: InstanceId }
  | { readonly do: "signal-at"; readonly mark: Mark; readonly pid: number | null; readonly signal: NodeJS.Signals }
  | { readonly do: "close" };

export type BothReply = { readonly output: string } | { readonly failed: string };

const log = { warn: (fields: object, message: string) => console.error(message, fields) };
const runtimes = new Map<Isolation, Runtime>();
const jails: ContainerRuntime[] = [];
const answering = new DisposableStack();
const runs = new Map<string, Run>();
/** A start that nobody waits for any more is given up, or its machine would outlive the test. */
const closing = new AbortController();
const starting = new Set<Promise<Run>>();

const open = async ({ allowed, root, hostId, image, shared }: Extract<BothOrder, { do: "open" }>): Promise<void> => {
  const images = { ensure: () => Promise.resolve(image) };
  const openJail = (isolation: Isolation): Promise<ContainerRuntime> =>
    ContainerRuntime.open({
      paths: hostPaths(`${root}/state`, `${root}/run`, hostId, isolation),
      images,
      mountAllowList: MountAllowList.parse(allowed),
      log,
    });
  const [containers, jail] = [await openJail("container"), await openJail("vm")];
  jails.push(containers, jail);
  for (const { networks } of jails) answering.use(new NameResponder({ networks, forward: null, log }));
  runtimes.set("container", containers);
  const machines = new MachineRuntime({
    paths: hostPaths(`${root}/state`, `${root}/run`, hostId, "vm"),
    jail,
    engines: [engineAt(`${shared}/engines`)],
    kernels: testKernels,
    images,
    diskRoot: `${shared}/disks`,
    log,
  });
  runtimes.set("vm", machines);
};

const isReached = ({ path, content }: Mark): boolean =>
  existsSync(path) && (content === undefined || readFileSync(path, "utf8") === content);

/** Looked for after each round of events, between two steps of whatever is under way. */
const signalAt = (order: Extract<BothOrder, { do: "signal-at" }>): void => {
  if (isReached(order.mark)) process.kill(order.pid ?? process.pid, order.signal);
  else setImmediate(signalAt, order);
};

const runOf = (instanceId: string): Run => {
  const run = runs.get(instanceId);
  if (run === undefined) throw new Error(`${instanceId} does not run here`);
  return run;
};

const obey = async (order: BothOrder): Promise<string> => {
  if (order.do === "open") await open(order);
  if (order.do === "start") {
    const { assignment } = order;
    const key = { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt: 0 };
    const runtime = runtimes.get(assignment.isolation);
    if (runtime === undefined) throw new Error("not open");
    const start = runtime.start({ key, assignment }, closing.signal);
    starting.add(start);
    runs.set(key.instanceId, await start);
  }
  if (order.do === "exec") {
    const run = runOf(order.instanceId);
    const session = await run.exec({ command: order.command, tty: false }).catch(async (error: Error) => {
      if (error.message !== "the instance has ended") throw error;
      const { reason, detail } = await run.ended;
      throw new Error(`${run.assignment.name} has ended: ${reason}: ${detail}`, { cause: error });
    });
    const [out, errors] = await Promise.all([
      buffer(session.stdout),
      session.stderr === null ? Buffer.alloc(0) : buffer(session.stderr),
      session.ended,
    ]);
    return `${String(out)}${String(errors)}`.trim();
  }
  if (order.do === "reshare") return JSON.stringify(await runOf(order.instanceId).reshare(order.shares));
  if (order.do === "pause") await (order.paused ? runOf(order.instanceId).pause() : runOf(order.instanceId).resume());
  if (order.do === "await-end") {
    const { reason, detail } = await runOf(order.instanceId).ended;
    return `${reason}: ${detail}`;
  }
  if (order.do === "stop") {
    const run = runOf(order.instanceId);
    await run.stop(order.graceMs);
    const { reason, exit } = await run.ended;
    return `${reason}: ${exit.exitCode}`;
  }
  if (order.do === "output") {
    const { isolation } = runOf(order.instanceId).assignment;
    const log = runtimes.get(isolation)?.logs(order.instanceId, { follow: false }, closing.signal) ?? [];
    let said = "";
    for await (const line of log) said += Buffer.from(line.text).toString() + (line.complete ? "\n" : "");
    return said;
  }
  if (order.do === "end") {
    const run = runOf(order.instanceId);
    await run.stop(0);
    await run.release();
    await runtimes.get(run.assignment.isolation)?.remove(order.instanceId);
    runs.delete(order.instanceId);
  }
  if (order.do === "snapshot") {
    const { isolation } = runOf(order.instanceId).assignment;
    return JSON.stringify(await runtimes.get(isolation)?.snapshot(order.instanceId, order.snapshotId));
  }
  if (order.do === "remove-snapshot") await runtimes.get("vm")?.removeSnapshot(order.snapshotId);
  if (order.do === "contract") return JSON.stringify(runOf(order.instanceId).checkContract());
  if (order.do === "signal-at") signalAt(order);
  if (order.do === "adopt") {
    for (const runtime of runtimes.values()) for (const run of await runtime.list()) runs.set(run.key.instanceId, run);
    return [...runs.keys()].toSorted().join(" ");
  }
  if (order.do === "close") {
    closing.abort();
    await Promise.allSettled(starting);
    for (const instanceId of runs.keys()) await obey({ do: "end", instanceId: instanceId as InstanceId });
    for (const jail of jails) {
      await jail.networks.end();
      await jail.settled();
    }
  }
  return "";
};

process.on("message", ({ id, order }: { id: number; order: BothOrder }) => {
  const reply = (body: BothReply): void => void process.send?.({ id, reply: body });
  obey(order).then(
    (output) => reply({ output }),
    (error: unknown) => {
      const code = isFleetError(error) ? error.code : null;
      const reason = error instanceof StartFailure ? `${error.reason}: ` : code === null ? "" : `${code}: `;
      reply({ failed: `${reason}${error instanceof Error ? error.message : String(error)}` });
    },
  );
});
