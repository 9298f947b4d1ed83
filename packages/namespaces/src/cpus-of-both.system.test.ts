// CPUs of one host with both agents: this process is one, another process is the other.
import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { Assignment, Digest } from "@bulkhead/contracts";
import { parseCpuList, usableCpus } from "@bulkhead/host";
import type { Run } from "@bulkhead/node";
import { busyboxImage } from "@bulkhead/testkit/images";
import { ContractWatch } from "./testing/contract-watch.ts";
import { OtherAgent } from "./testing/other-agent.ts";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
let other: OtherAgent;
let busybox: Digest;
let watch: ContractWatch;
const watched = new Set<Run>();
const online = usableCpus();
const own = online[0] ?? 0;
const rest = online.slice(1);
const patience = { timeout: 30_000 };

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage());
});
beforeEach(async () => {
  other = await OtherAgent.open(rig, busybox);
  watch = new ContractWatch(() => watched);
});
afterEach(async () => {
  watch[Symbol.dispose]();
  watched.clear();
  await other[Symbol.asyncDispose]();
  await rig.clear();
});
afterAll(() => rig[Symbol.asyncDispose]());

const shared = (): Assignment => rig.assignment(busybox, { command: ["sleep", "1000"] });
const dedicated = (cpuIds: number[]): Assignment =>
  rig.assignment(busybox, {
    command: ["sleep", "1000"],
    resources: { cpuMillis: 1000 * cpuIds.length, cpuPolicy: "dedicated" },
    cpuIds,
  });
const cpusOfProcess = (pid: number): number[] =>
  parseCpuList(/^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "");
const start = async (assignment: Assignment): Promise<Run & { readonly process: number }> => {
  const run = await rig.start(assignment);
  watched.add(run);
  return Object.assign(run, { process: rig.pidOf(run) });
};
const outcome = (starting: Promise<unknown>): Promise<string> =>
  starting.then(
    () => "started",
    (error: Error & { reason?: string }) => error.reason ?? error.message,
  );
const brokenAnywhere = async (): Promise<string[]> => {
  expect(watch.checks).toBeGreaterThan(0);
  return [...watch.violations, ...(await other.violations())];
};

test.runIf(online.length > 1)(
  "a dedicated CPU is left by the shared instances of both agents, whichever has it, and given back",
  async () => {
    const mine = await start(shared());
    const theirs = await other.start(shared());
    const seen = () => [cpusOfProcess(mine.process), cpusOfProcess(theirs)];
    expect(seen()).toEqual([online, online]);

    const alone = await start(dedicated([own]));
    expect([cpusOfProcess(alone.process), ...seen()]).toEqual([[own], rest, rest]);
    const later = await other.start(shared());
    expect(cpusOfProcess(later)).toEqual(rest);
    await alone.stop(0);
    await expect.poll(seen, patience).toEqual([online, online]);

    const assignment = dedicated([own]);
    const theirOwn = await other.start(assignment);
    expect([cpusOfProcess(theirOwn), ...seen()]).toEqual([[own], rest, rest]);
    await other.end(assignment);
    await expect.poll(seen, patience).toEqual([online, online]);
    expect(await brokenAnywhere()).toEqual([]);
  },
);

test.runIf(online.length > 1)(
  "an agent that is gone is not needed: its instances leave a CPU and get it back, and the next one adopts them so",
  async () => {
    const theirs = await other.start(shared());
    const monitored = dedicated([...rest]);
    const monitor = await other.start(monitored, { monitor: true });
    const seen = () => [cpusOfProcess(theirs), cpusOfProcess(monitor)];
    expect(seen()).toEqual([[own], online]);
    await other.end(monitored);
    await expect.poll(() => cpusOfProcess(theirs), patience).toEqual(online);

    await other.kill();
    const alone = await start(dedicated([own]));
    expect(cpusOfProcess(theirs)).toEqual(rest);
    await other.begin();
    expect(Object.values(await other.adopt())).toEqual([theirs]);
    expect(cpusOfProcess(theirs)).toEqual(rest);
    await other.kill();
    await alone.stop(0);
    await expect.poll(() => cpusOfProcess(theirs), patience).toEqual(online);
    await other.begin();
    await other.adopt();
    expect(cpusOfProcess(theirs)).toEqual(online);
    await expect.poll(() => other.violations()).toEqual([]);
  },
);

test.runIf(online.length > 1)(
  "what one agent's instances have is refused to the other's, and so is the last CPU that any share",
  async () => {
    await other.start(shared());
    expect(await outcome(start(dedicated([...online])))).toBe("ResourceExhausted");
    await other.start(dedicated([own]));
    expect(await outcome(start(dedicated([own])))).toBe("ResourceExhausted");
    expect(await outcome(start(dedicated([...rest])))).toBe("ResourceExhausted");
    const mine = await start(shared());
    expect(cpusOfProcess(mine.process)).toEqual(rest);
    await other.kill();
    expect(await outcome(start(dedicated([own])))).toBe("ResourceExhausted");
    expect(await outcome(start(dedicated([...rest])))).toBe("ResourceExhausted");
    await other.begin();
    expect(await brokenAnywhere().catch(String)).toEqual("Error: no contract was checked");
  },
);

test.runIf(online.length > 1)("where all CPUs are dedicated, by both agents, nothing that shares begins", async () => {
  await start(dedicated([own]));
  const last = dedicated([...rest]);
  await other.start(last);
  expect(await outcome(start(shared()))).toBe("ResourceExhausted");
  expect(await outcome(other.start(shared()))).toBe("ResourceExhausted");
  await other.end(last);
  expect(cpusOfProcess((await start(shared())).process)).toEqual(rest);
  expect(await brokenAnywhere()).toEqual([]);
});

test.runIf(online.length > 1)(
  "what a dead agent's instance had is free when that has ended, and not before",
  async () => {
    const mine = await start(shared());
    const process_ = await other.start(dedicated([own]));
    await other.kill();
    expect(cpusOfProcess(mine.process)).toEqual(rest);
    expect(await outcome(start(dedicated([own])))).toBe("ResourceExhausted");
    process.kill(process_, "SIGKILL");
    // Nobody starts or ends anything here: who looks after contracts sees it.
    await expect.poll(() => cpusOfProcess(mine.process), patience).toEqual(online);
    expect(cpusOfProcess((await start(dedicated([own]))).process)).toEqual([own]);
    expect(cpusOfProcess(mine.process)).toEqual(rest);
    await other.begin();
    // It has ended, and has no process.
    expect(Object.values(await other.adopt())).toEqual([0]);
    expect(cpusOfProcess(mine.process)).toEqual(rest);
    expect(watch.violations).toEqual([]);
  },
);

test.runIf(online.length > 1)(
  "a program that shares too leaves a CPU that the other agent's instance gets, and hears of it",
  async () => {
    const assignment = dedicated([own]);
    const monitor = await other.start(assignment, { monitor: true });
    expect(cpusOfProcess(monitor)).toEqual(online);
    const alone = await start(dedicated([...rest]));
    expect(cpusOfProcess(monitor)).toEqual([own]);
    await expect.poll(() => other.heard(assignment), patience).toEqual([[]]);
    await alone.stop(0);
    await expect.poll(() => cpusOfProcess(monitor), patience).toEqual(online);
    await expect.poll(() => other.heard(assignment), patience).toEqual([[], rest]);
    expect(await brokenAnywhere()).toEqual([]);
  },
);

test.runIf(online.length > 1)(
  "starts of both agents go on while a CPU is taken and given back, and no contract is ever broken",
  async () => {
    const rounds = 12;
    const each = async (count: number, begin: () => Promise<unknown>): Promise<string[]> => {
      const outcomes: string[] = [];
      for (let round = 0; round < count; round += 1) outcomes.push(await outcome(begin()));
      return outcomes;
    };
    const taken = async (): Promise<void> => {
      const run = await start(dedicated([own]));
      await run.stop(0);
      const theirs = dedicated([own]);
      await other.start(theirs);
      await other.end(theirs);
    };
    const here = () => each(rounds, () => start(shared()));
    const there = () => each(rounds, () => other.start(shared()));
    const outcomes = (await Promise.all([here(), here(), there(), there(), each(rounds, taken)])).flat();
    expect(outcomes.filter((each) => each !== "started")).toEqual([]);
    expect(await brokenAnywhere()).toEqual([]);
  },
);

test.runIf(online.length > 1)(
  "of one that takes all CPUs and one that shares, begun at once by two agents, never both run",
  async () => {
    for (let round = 0; round < 10; round += 1) {
      const theirs = shared();
      const [taken, begun] = await Promise.all([outcome(start(dedicated([...online]))), outcome(other.start(theirs))]);
      expect([taken, begun].filter((each) => each === "started").length).toBe(1);
      await rig.clear();
      watched.clear();
      await other.clear();
    }
  },
);
