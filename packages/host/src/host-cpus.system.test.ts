// On directories that look like cpusets: what the kernel does with real ones is packages/namespaces' to try.
import { mkdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { join } from "node:path";
import type { Isolation } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import type { CgroupParents } from "./cgroup-parents.ts";
import { CpuLedger } from "./cpu-ledger.ts";
import type { CpuUser } from "./cpu-partition.ts";
import { HostCpus, type HostCpusOptions } from "./host-cpus.ts";

const online = [0, 1, 2, 3];
const patience = { timeout: 30_000 };

const host = async () => {
  const directory = await mkdtempDisposable("/tmp/bulkhead-cpus-");
  const place = (name: string): string => join(directory.path, name);
  const cpus = place("cpus");
  mkdirSync(cpus);
  const makeCpuset = (path: string): void => {
    mkdirSync(path, { recursive: true });
    for (const file of ["cpuset.cpus", "cpuset.mems"]) writeFileSync(join(path, file), "0-3");
  };
  for (const name of ["container", "vm"]) makeCpuset(place(`${name}/shared`));
  return {
    place,
    makeCpuset: (name: string) => makeCpuset(place(name)),
    cpusOf: (name: string): string => readFileSync(place(`${name}/cpuset.cpus`), "utf8"),
    ledger: new CpuLedger(cpus, online),
    agent: async (isolation: Isolation, changes: Partial<HostCpusOptions> = {}): Promise<HostCpus> => {
      const parents: CgroupParents = {
        mode: "v1",
        paths: { cpuset: place(isolation) },
        controllers: new Set(["cpuset"]),
        problems: [],
        shims: [],
      };
      const agent = new HostCpus({
        paths: { cpus, isolation },
        parents,
        online,
        othersShare: () => Promise.resolve(false),
        changed: () => undefined,
        failed: (error) => expect.unreachable(String(error)),
        ...changes,
      });
      await agent.open();
      return agent;
    },
    user: (isolation: Isolation, name: string, cpuIds: number[], dedicated = true): CpuUser => ({
      isolation,
      name,
      dedicated,
      cpuIds,
      sharesToo: false,
      cpuset: place(`${isolation}/${dedicated ? "" : "shared/"}${name}`),
      runDir: place(`runs/${name}`),
    }),
    end: (name: string): void => {
      mkdirSync(place(`runs/${name}`), { recursive: true });
      writeFileSync(place(`runs/${name}/exit`), "{}");
    },
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
};

test("both groups lose what one agent's instance gets, and each agent hears of it once", async () => {
  await using at = await host();
  const heard: string[] = [];
  using containers = await at.agent("container", { changed: () => void heard.push("container") });
  using machines = await at.agent("vm", { changed: () => void heard.push("vm") });
  await expect.poll(() => heard.length, patience).toBeGreaterThan(1);
  heard.length = 0;
  expect(await machines.enter(at.user("vm", "a", [1, 2]))).toBeNull();
  expect([at.cpusOf("container/shared"), at.cpusOf("vm/shared")]).toEqual(["0,3", "0,3"]);
  await expect.poll(() => heard.toSorted(), patience).toEqual(["container", "vm"]);
  expect(containers.promisedTo("any")).toMatchObject({ settled: true, most: [0, 3], least: [] });
  expect(machines.promisedTo("a")).toMatchObject({ settled: true, most: [1, 2], least: [1, 2] });
  expect(await containers.enter(at.user("container", "b", [2]))).toBe("CPU 2 is wanted by b and has a");
  await machines.leave("a");
  expect([at.cpusOf("container/shared"), at.cpusOf("vm/shared")]).toEqual(["0-3", "0-3"]);
});

test("CPUs chosen for a shared instance are kept by the other agent, as far as they are shared", async () => {
  await using at = await host();
  using containers = await at.agent("container");
  using machines = await at.agent("vm");
  at.makeCpuset("container/shared/chosen");
  at.makeCpuset("container/shared/any");
  const seen = () => [at.cpusOf("container/shared/chosen"), at.cpusOf("container/shared/any")];
  expect(await containers.enter(at.user("container", "chosen", [1, 2], false))).toBeNull();
  expect(await machines.enter(at.user("vm", "a", [1]))).toBeNull();
  expect(seen()).toEqual(["2", "0,2-3"]);
  expect(await machines.enter(at.user("vm", "b", [2]))).toBeNull();
  expect(seen()).toEqual(["0,3", "0,3"]);
  expect(containers.promisedTo("chosen").most).toEqual([0, 3]);
  await machines.leave("a");
  await machines.leave("b");
  expect(seen()).toEqual(["1-2", "0-3"]);
});

test("one that shares and began meanwhile keeps the last CPU, and nothing is left of the other's claim", async () => {
  await using at = await host();
  const answers = [false, true];
  using containers = await at.agent("container", { othersShare: () => Promise.resolve(answers.shift() ?? true) });
  expect(await containers.enter(at.user("container", "a", [...online]))).toContain("shared ones would have none");
  expect(answers).toEqual([]);
  expect(at.ledger.now).toMatchObject({ users: [], shared: online, before: null });
  expect(at.cpusOf("container/shared")).toBe("0-3");
});

test("what fails half way is taken back", async () => {
  await using at = await host();
  let asked = 0;
  using containers = await at.agent("container", {
    othersShare: () => ((asked += 1) === 1 ? Promise.resolve(false) : Promise.reject(new Error("no memory"))),
  });
  await expect(containers.enter(at.user("container", "a", [...online]))).rejects.toThrow("no memory");
  expect(at.ledger.now).toMatchObject({ users: [], shared: online, before: null });
  expect(await containers.enter(at.user("container", "b", [0]))).toBeNull();
});

test("what an agent began and did not end is done by the other; until then nobody is promised more than both", async () => {
  await using at = await host();
  using containers = await at.agent("container");
  const { groups } = at.ledger.now;
  const users = [at.user("vm", "a", [0])];
  at.ledger.write({ groups, users, shared: [1, 2, 3], before: online });
  expect(containers.promisedTo("any")).toMatchObject({ settled: false, most: online, least: [] });
  await expect.poll(() => at.ledger.now.before, patience).toBeNull();
  expect(at.cpusOf("container/shared")).toBe("1-3");
  expect(containers.promisedTo("any")).toMatchObject({ settled: true, most: [1, 2, 3] });
});

test("what has ended counts no more, whether its agent is there or not; what an agent does not know is not its own", async () => {
  await using at = await host();
  using containers = await at.agent("container");
  using machines = await at.agent("vm");
  await machines.enter(at.user("vm", "a", [0]));
  await machines.enter(at.user("vm", "b", [1]));
  machines[Symbol.dispose]();
  expect(await containers.enter(at.user("container", "c", [0]))).toContain("wanted by c and has a");
  at.end("a");
  expect(await containers.enter(at.user("container", "c", [0]))).toBeNull();
  expect(at.cpusOf("vm/shared")).toBe("2-3");
  using next = await at.agent("vm");
  expect(at.cpusOf("vm/shared")).toBe("2-3");
  await next.settle();
  expect(at.ledger.now.users.map(({ name }) => name)).toEqual(["c"]);
  expect([at.cpusOf("container/shared"), at.cpusOf("vm/shared")]).toEqual(["1-3", "1-3"]);
});

test("beside another version's agent no CPU is given away, nothing of its is changed, and sharers start", async () => {
  await using at = await host();
  const file = at.place("cpus/partition.json");
  using earlier = await at.agent("vm");
  using _beside = await at.agent("container");
  expect(await earlier.enter(at.user("vm", "a", [1]))).toBeNull();
  const written = readFileSync(file, "utf8");
  const theirs = written.replace('"version":1', '"version":2');
  writeFileSync(file, theirs);
  utimesSync(file, 5000, 5000);
  const told: string[] = [];
  using containers = await at.agent("container", { failed: (error) => void told.push(String(error)) });
  expect(told).toEqual([expect.stringContaining("another version")]);
  for (const user of [at.user("container", "b", [2]), at.user("container", "c", [2], false)]) {
    expect(await containers.enter(user)).toMatch(
      /partition\.json was written by another version .* update both agents/,
    );
  }
  expect(await containers.enter(at.user("container", "d", [], false))).toBeNull();
  expect(await containers.refusal("d")).toBeNull();
  expect(containers.promisedTo("d")).toMatchObject({ settled: false, most: online, least: [] });
  await containers.settle();
  await containers.leave("d");
  expect([at.cpusOf("container/shared"), at.cpusOf("vm/shared"), readFileSync(file, "utf8")]).toEqual([
    "0,2-3",
    "0,2-3",
    theirs,
  ]);
  writeFileSync(file, written);
  utimesSync(file, 5001, 5001);
  expect(await containers.enter(at.user("container", "b", [1]))).toBe("CPU 1 is wanted by b and has a");
  expect(await containers.enter(at.user("container", "b", [2]))).toBeNull();
});
