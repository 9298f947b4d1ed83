import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Digest } from "@bulkhead/contracts";
import { parseCpuList, usableCpus } from "@bulkhead/host";
import type { Run } from "@bulkhead/node";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
let busybox: Digest;
const online = usableCpus();
const own = online[0] ?? 0;
const rest = online.slice(1);

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage());
});
afterEach(() => rig.clear());
afterAll(() => rig[Symbol.asyncDispose]());

const shared = () => rig.assignment(busybox, { command: ["sleep", "1000"] });
const dedicated = (cpuIds: number[]) =>
  rig.assignment(busybox, {
    command: ["sleep", "1000"],
    resources: { cpuMillis: 1000 * cpuIds.length, cpuPolicy: "dedicated" },
    cpuIds,
  });
const allowed = (run: Run): number[] =>
  parseCpuList(/^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync(`/proc/${rig.pidOf(run)}/status`, "utf8"))?.[1] ?? "");

test.runIf(online.length > 1)("a dedicated CPU is left by all others and given back at the end", async () => {
  const before = await rig.start(shared());
  expect(allowed(before)).toEqual(online);

  const alone = await rig.start(dedicated([own]));
  expect(allowed(alone)).toEqual([own]);
  expect(allowed(before)).toEqual(rest);
  const after = await rig.start(shared());
  expect(allowed(after)).toEqual(rest);
  for (const run of [before, alone, after]) expect(run.checkContract()).toEqual({ held: true, violations: [] });

  await alone.stop(0);
  await expect.poll(() => [allowed(before), allowed(after)], { timeout: 5_000 }).toEqual([online, online]);
  for (const run of [before, after]) expect(run.checkContract()).toEqual({ held: true, violations: [] });
});

test.runIf(online.length > 1)("a new agent keeps the partition of the instances it adopts", async () => {
  const first = await rig.start(shared());
  const alone = await rig.start(dedicated([own]));
  await (await rig.reopen()).list();
  const second = await rig.start(shared());
  expect([allowed(first), allowed(alone), allowed(second)]).toEqual([rest, [own], rest]);
});

test("a CPU is never promised twice, and never the last one that others share", async () => {
  const failure = (assignment: ReturnType<typeof shared>) =>
    rig.start(assignment).then(
      () => "started",
      ({ reason }: { reason: string }) => reason,
    );
  const running = await rig.start(shared());
  expect(await failure(dedicated([...online]))).toBe("ResourceExhausted");
  expect(await failure(dedicated([9999]))).toBe("ResourceExhausted");
  if (online.length > 1) await rig.start(dedicated([own]));
  expect(await failure(dedicated([own]))).toBe("ResourceExhausted");
  expect(running.checkContract().held).toBe(true);
});
