/**
 * What a process costs that waits ready for its container, as a table of its own, and what a hundred idle containers keep,
 * each: PSS of the shim and of its program, and all memory, the kernel's included.
 * Everything the kernel accounts machine-wide is taken as a difference, so other work on the machine shows in it; the
 * median of the rounds is the figure. Kernel memory that is charged to a cgroup is counted twice: an upper bound.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Rig } from "@bulkhead/namespaces/testing";
import { pssKibOf } from "./processes.ts";
import { median, printFigures, printTable } from "./report.ts";

const containers = 100;
const rounds = 3;
/** After a birth its shim has still something to do. */
const settleMs = 200;
const pssGoalKib = 100;
const allGoalKib = 1024;
/** Memory that no process's PSS holds (proc(5), /proc/meminfo). */
const kernelKinds = ["Slab", "KernelStack", "PageTables", "Percpu", "Shmem"] as const;
type Kind = (typeof kernelKinds)[number] | "cgroups";

await using rig = await Rig.open();
const image = await rig.image(await busyboxImage());

/** Memory charged to this host's instances, in KiB; the rig's parent holds nothing else. */
const cgroupKib = (): number => {
  const { paths } = rig.runtime.parents;
  const v1 = paths["memory"];
  const parent = v1 ?? paths["unified"] ?? "";
  const file = v1 === undefined ? "memory.current" : "memory.usage_in_bytes";
  return Number(readFileSync(join(parent, file), "utf8")) / 1024;
};

const memoryNow = (): Record<Kind, number> => {
  const meminfo = readFileSync("/proc/meminfo", "utf8");
  const kernel = kernelKinds.map((kind): [Kind, number] => {
    const kib = new RegExp(`^${kind}:\\s+(\\d+) kB$`, "m").exec(meminfo)?.[1];
    if (kib === undefined) throw new Error(`/proc/meminfo does not say ${kind}`);
    return [kind, Number(kib)];
  });
  return Object.fromEntries([["cgroups", cgroupKib()], ...kernel]) as Record<Kind, number>;
};

const pidsOf = (instanceId: string): { shim: number; program: number } => {
  const [file] = globSync(join(rig.paths.runInstances, instanceId, "*/status"));
  if (file === undefined) throw new Error(`${instanceId} has no status file`);
  const status = JSON.parse(readFileSync(file, "utf8")) as Record<"shim" | "init", { pid: number }>;
  return { shim: status.shim.pid, program: status.init.pid };
};

/** PSS of a process that has to be there, and to be what is measured. */
const pssOf = (pid: number, name: string): number => {
  const command = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  const kib = pssKibOf(pid);
  if (command !== name || kib === 0) throw new Error(`process ${pid} is ${command} with ${kib} KiB, not ${name}`);
  return kib;
};

const round = async () => {
  const before = memoryNow();
  const started: string[] = [];
  for (let index = 0; index < containers; index += 1) {
    const wanted = rig.assignment(image, { command: ["/bin/sleep", "1000000"] });
    await rig.start(wanted);
    started.push(wanted.instanceId);
  }
  const after = memoryNow();
  const pids = started.map(pidsOf);
  const shimName = readFileSync(`/proc/${pids[0]?.shim}/comm`, "utf8").trim();
  const shims = pids.map(({ shim }) => pssOf(shim, shimName));
  const programs = pids.map(({ program }) => pssOf(program, "sleep"));
  await rig.clear();
  const kinds = (Object.keys(before) as Kind[]).map(
    (kind) => [kind, (after[kind] - before[kind]) / containers] as const,
  );
  const each = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / containers;
  return {
    shimKib: each(shims),
    programKib: each(programs),
    kinds: Object.fromEntries(kinds) as Record<Kind, number>,
    allKib: kinds.reduce((sum, [, kib]) => sum + kib, 0),
  };
};

const readyProcesses = 32;

/** Processes that wait ready and their shims, in KiB each. */
const readyRound = async (): Promise<{ shimKib: number; processKib: number; kernelKib: number }> => {
  const { paths } = rig.runtime.parents;
  const directory = paths["memory"] ?? paths["unified"] ?? "";
  const before = memoryNow();
  await rig.reopen({ readyProcesses });
  const born = (): number[] =>
    globSync(join(directory, "{.,shared}", "ready-*", "cgroup.procs")).flatMap((file) =>
      readFileSync(file, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map(Number),
    );
  while (born().length < readyProcesses) await delay(10);
  await delay(settleMs);
  const after = memoryNow();
  const pids = born();
  const shims = pids.map((pid) => Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]));
  const each = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / readyProcesses;
  const sizes = {
    shimKib: each(shims.map(pssKibOf)),
    processKib: each(pids.map(pssKibOf)),
    kernelKib: each((Object.keys(before) as Kind[]).map((kind) => after[kind] - before[kind])),
  };
  await rig.reopen();
  return sizes;
};

// What the first container of a host brings (image layers, parents of cgroups) is no later one's.
await rig.start(rig.assignment(image, { command: ["/bin/sleep", "1000000"] }));
await rig.clear();
const measured: Awaited<ReturnType<typeof round>>[] = [];
for (let index = 0; index < rounds; index += 1) measured.push(await round());

const readyRounds: Awaited<ReturnType<typeof readyRound>>[] = [];
for (let index = 0; index < rounds; index += 1) readyRounds.push(await readyRound());
const ready = {
  shimKib: median(readyRounds.map(({ shimKib }) => shimKib)),
  processKib: median(readyRounds.map(({ processKib }) => processKib)),
  kernelKib: median(readyRounds.map(({ kernelKib }) => kernelKib)),
};

const row = (title: string, value: (one: (typeof measured)[number]) => number): (string | number)[] => [
  title,
  median(measured.map(value)),
  ...measured.map(value),
];
printTable([
  ["KiB per container", "median", ...measured.map((_, index) => `round ${index + 1}`)],
  row("PSS of the shim", ({ shimKib }) => shimKib),
  row("PSS of the program", ({ programKib }) => programKib),
  row("charged to its cgroup", ({ kinds }) => kinds.cgroups),
  ...kernelKinds.map((kind) => row(kind, ({ kinds }) => kinds[kind])),
  row("all together", ({ allKib }) => allKib),
]);
console.log();
printTable([
  ["KiB per process that waits ready", "median"],
  ["PSS of its shim", ready.shimKib],
  ["PSS of the process", ready.processKib],
  ["the kernel's, and charged to its cgroup", ready.kernelKib],
]);
// The program is the user's (here BusyBox's sleep): it has a row and a figure of its own, and counts in the second goal.
const pssKib = median(measured.map(({ shimKib }) => shimKib));
const programPssKib = median(measured.map(({ programKib }) => programKib));
const allKib = median(measured.map((one) => one.allKib));
printFigures({
  bench: "container-memory",
  containers,
  pssKib,
  programPssKib,
  allKib,
  readyKib: ready.shimKib + ready.processKib + ready.kernelKib,
  better: "lower",
  goal: `per container: PSS of what we keep (the shim) <= ${pssGoalKib} KiB; all memory, program and kernel included, <= ${allGoalKib} KiB`,
  met: pssKib <= pssGoalKib && allKib <= allGoalKib,
});
