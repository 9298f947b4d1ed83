// Containers that want all there is: each meets its own limit, and its neighbour and its agent do not notice.
import { readdirSync, statSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { Stage, type Changes, type RunningInstance } from "./stage.ts";

let stage: Stage;
let neighbour: RunningInstance;

beforeAll(async () => {
  stage = await Stage.open();
});
beforeEach(async () => {
  neighbour = await stage.rig.start(stage.shell("exec sleep 1000"));
});
afterEach(async () => {
  // Whatever went on, the neighbour still answers.
  const answer = await stage.exec(neighbour, ["echo", "well"]);
  if (answer !== "well\n") throw new Error(`the neighbour said ${JSON.stringify(answer)}`);
  await stage.rig.clear();
  await stage.rig.refuseLeaks();
});
afterAll(() => stage[Symbol.asyncDispose]());

const mebibyte = 2 ** 20;
const limits = (memoryMib: number, pidsMax: number): Changes => ({
  resources: { memoryBytes: memoryMib * mebibyte, pidsMax },
});

test("a fork bomb stays within pidsMax and dies at a stop", async () => {
  // A shell that cannot fork ends, so the first process leaves the bomb to children and never forks at the limit.
  const run = await stage.rig.start(
    stage.shell("while :; do (while :; do sleep 1000 & done); done 2>/dev/null", limits(32, 40)),
  );
  await expect.poll(() => run.usage().pids, { timeout: 30_000 }).toBeGreaterThan(20);
  for (let look = 0; look < 50; ++look) expect(run.usage().pids).toBeLessThanOrEqual(40);
  await run.stop(0);
  expect((await run.ended).reason).toBe("StoppedByUser");
});

test("an exec into a container that is full of processes is refused, and works again when there is room", async () => {
  const run = await stage.ready(
    stage.shell(
      "for i in 1 2 3 4 5 6 7; do sleep 1000 & done; echo ready; trap 'kill %1 %2 %3 %4 %5 %6 %7' USR1; while :; do wait; sleep 0.1; done",
      limits(32, 9),
    ),
  );
  const storm = await Promise.allSettled(Array.from({ length: 24 }, () => stage.exec(run, ["sleep", "0.2"])));
  const refused = storm.filter(({ status }) => status === "rejected");
  expect(refused.length).toBeGreaterThan(0);
  for (const one of refused) expect(one).toMatchObject({ reason: { code: "EXEC_FAILED" } });
  run.signal(10);
  await expect.poll(() => stage.exec(run, ["echo", "again"]).catch(() => ""), { timeout: 30_000 }).toBe("again\n");
});

test("a memory bomb in anonymous memory, in /dev/shm and in /dev is ended by its own limit", async () => {
  for (const script of [
    "x=a; while :; do x=$x$x; done",
    "exec dd if=/dev/zero of=/dev/shm/fill bs=1M",
    "cat /dev/zero > /dev/fill",
  ]) {
    const run = await stage.rig.start(stage.shell(script, limits(16, 20)));
    const ended = await run.ended;
    expect({ script, reason: ended.reason }).toMatchObject({ reason: expect.stringMatching(/OomKilled|Exited/) });
    await run.release();
  }
});

test("millions of names and inodes on a tmpfs are paid by their maker's memory limit", async () => {
  const run = await stage.rig.start(
    stage.shell(
      "i=0; while mkdir /dev/shm/$i 2>/dev/null; do j=0; while [ $j -lt 500 ]; do : > /dev/shm/$i/$j || exit 3; j=$((j+1)); done; i=$((i+1)); done; exit 3",
      limits(16, 20),
    ),
  );
  const ended = await run.ended;
  expect(["OomKilled", "Exited"]).toContain(ended.reason);
  expect(run.usage().memoryPeakBytes).toBeLessThanOrEqual(17 * mebibyte);
});

test("a flood of output is bounded on disk, blocks nobody, and its end is known", async () => {
  const before = statfsSync(stage.rig.paths.state);
  const run = await stage.rig.start(
    stage.shell("yes flood & yes flood >&2 & trap 'exit 5' TERM; while :; do sleep 0.05; done"),
  );
  const logs = join(stage.rig.paths.instances, run.key.instanceId, "logs");
  const bytes = () => readdirSync(logs).reduce((sum, name) => sum + statSync(join(logs, name)).size, 0);
  await expect.poll(() => readdirSync(logs).length, { timeout: 40_000 }).toBeGreaterThan(2);
  expect(await stage.exec(run, ["echo", "between"])).toBe("between\n");
  await run.stop(10_000);
  expect(await run.ended).toMatchObject({ exit: { exitCode: 5 } });
  const largest = Math.max(...readdirSync(logs).map((name) => statSync(join(logs, name)).size));
  expect(bytes()).toBeLessThanOrEqual(largest * readdirSync(logs).length);
  expect(bytes()).toBeLessThan(200 * mebibyte);
  expect(statfsSync(dirname(logs)).bavail).toBeGreaterThan(before.bavail - (400 * mebibyte) / before.bsize);
});
