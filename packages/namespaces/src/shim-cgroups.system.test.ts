import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import type { Digest } from "@bulkhead/contracts";
import { openCgroupParents, readCgroups, removeCgroupParents, type CgroupParents } from "@bulkhead/host";
import { busyboxImage } from "@bulkhead/testkit/images";
import type { AgentOrder } from "./testing/agent-process.ts";
import { Rig } from "./testing/rig.ts";

const patience = { timeout: 30_000, interval: 20 };

let rig: Rig;
let busybox: Digest;
/** stands for what a service manager gives an agent: a cgroup in every hierarchy */
let unit: Unit;

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage());
});
beforeEach(async () => {
  unit = await Unit.open();
});
afterEach(async () => {
  await rig.clear();
  await rig.refuseLeaks();
});
afterAll(() => rig[Symbol.asyncDispose]());

const procsBelow = (directory: string): number[] => [
  ...readFileSync(join(directory, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number),
  ...readdirSync(directory, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? procsBelow(join(directory, entry.name)) : [],
  ),
];

const removeCgroups = (directory: string): void => {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroups(join(directory, entry.name));
  }
  rmdirSync(directory);
};

class Unit {
  readonly name: string;
  readonly #outer: CgroupParents;

  private constructor(name: string, outer: CgroupParents) {
    this.name = name;
    this.#outer = outer;
  }

  static async open(): Promise<Unit> {
    const name = `bulkhead-test-${randomBytes(4).toString("hex")}`;
    const unit = new Unit(name, await openCgroupParents(name, readCgroups()));
    for (const directory of unit.#directories()) {
      mkdirSync(directory);
      for (const file of ["cpuset.cpus", "cpuset.mems"]) {
        // A cpuset of cgroup v1 takes no process before it has CPUs and memory (cpusets(7)).
        if (unit.#outer.mode === "v2" || !existsSync(join(directory, file))) continue;
        writeFileSync(join(directory, file), readFileSync(join(directory, "..", file)));
      }
    }
    return unit;
  }

  #directories(): string[] {
    return [...new Set(Object.values(this.#outer.paths))].map((path) => join(path, "service"));
  }

  enter(pid: number): void {
    for (const directory of this.#directories()) writeFileSync(join(directory, "cgroup.procs"), String(pid));
  }

  /** As a service manager ends whoever is in it, and in everything below. */
  end(): void {
    for (const directory of this.#directories()) {
      for (const pid of procsBelow(directory)) {
        try {
          process.kill(pid, "SIGKILL");
        } catch (error) {
          // It went with another one.
          if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
        }
      }
    }
  }

  /** Of the unit and everything below it. */
  processes(): number[] {
    return this.#directories().flatMap(procsBelow);
  }

  async remove(): Promise<void> {
    for (const directory of this.#directories()) removeCgroups(directory);
    await removeCgroupParents(this.#outer);
  }
}

const removed = async (gone: Unit): Promise<void> => {
  await vi.waitUntil(() => gone.processes().length === 0, patience);
  await gone.remove();
};

const statusOf = (run: string): { shim: { pid: number }; init: { pid: number } } =>
  JSON.parse(readFileSync(join(rig.paths.runInstances, run, "1.1.0", "status"), "utf8")) as never;

/** An agent in the unit that has started one instance. */
const agentWith = async (
  assignment: ReturnType<Rig["assignment"]>,
  cgroupParent: string | undefined,
): Promise<ChildProcess> => {
  const agent = spawn(process.execPath, [join(import.meta.dirname, "testing/agent-process.ts")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  unit.enter(agent.pid ?? 0);
  const order: AgentOrder = {
    paths: rig.paths,
    image: await rig.ensured(busybox),
    assignments: [assignment],
    cgroupParent,
  };
  agent.stdin.write(`${JSON.stringify(order)}\n`);
  await once(agent.stdout, "data");
  return agent;
};

test("an agent whose whole cgroup is ended leaves its instance alive, and the next one adopts it", async () => {
  const assignment = rig.assignment(busybox, { command: ["sleep", "1000"] });
  const agent = await agentWith(assignment, "../instances");
  const { shim, init } = statusOf(assignment.instanceId);
  const exited = once(agent, "exit");
  unit.end();
  await exited;
  const runtime = await rig.reopen({ cgroupParent: `${unit.name}/instances` });
  try {
    const [run] = await runtime.list();
    expect(run?.key.instanceId).toBe(assignment.instanceId);
    expect(run?.checkContract()).toEqual({ held: true, violations: [] });
    for (const { pid } of [shim, init]) expect(existsSync(`/proc/${pid}`)).toBe(true);
    for (const directory of runtime.parents.shims) expect(procsBelow(directory)).toEqual([shim.pid]);
    await run?.stop(0);
    expect((await run?.ended)?.exit.signal).toBe(9);
  } finally {
    await rig.clear();
    await removeCgroupParents(runtime.parents);
    for (const path of new Set(Object.values(runtime.parents.paths))) rmdirSync(join(path, ".."));
    await rig.reopen();
    await removed(unit);
  }
});

test("where shims have no place nothing starts, and nothing stays", async () => {
  const runtime = await rig.reopen({ cgroupParent: `${unit.name}/instances` });
  try {
    for (const directory of runtime.parents.shims) rmdirSync(directory);
    const started = rig.start(rig.assignment(busybox, { command: ["true"] }));
    await expect(started).rejects.toMatchObject({ cause: { step: "spawn", code: "ENOENT" } });
    await expect(started).rejects.toThrow("/shims");
  } finally {
    await rig.clear();
    await removeCgroupParents(runtime.parents);
    for (const path of new Set(Object.values(runtime.parents.paths))) rmdirSync(join(path, ".."));
    await rig.reopen();
    await removed(unit);
  }
});

test("without a cgroup of their own, instance and shim end with their agent's", async () => {
  const assignment = rig.assignment(busybox, { command: ["sleep", "1000"] });
  const agent = await agentWith(assignment, undefined);
  const { shim } = statusOf(assignment.instanceId);
  const exited = once(agent, "exit");
  unit.end();
  await exited;
  await expect.poll(() => existsSync(`/proc/${shim.pid}`), patience).toBe(false);
  await rig.reopen();
  await rig.clear();
  await removed(unit);
});
