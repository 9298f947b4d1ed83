import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxImage } from "@bulkhead/testkit/images";
import type { Instance } from "@bulkhead/contracts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readCgroupLimit } from "../cgroup.ts";
import { startFleet, type Fleet } from "../fleet.ts";

const mebibyte = 1024 * 1024;
let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet({ BULKHEAD_CONTRACT_MS: "500" });
  await fleet.importImage("busybox", await busyboxImage());
});
afterAll(() => fleet[Symbol.asyncDispose]());

/** A file of the instance's cgroup, found by its process: v1's of a controller, or cgroup2's. */
const kernelFile = async (name: string, controller: string, files: { v1: string; v2: string }): Promise<string> => {
  const lines = readFileSync(`/proc/${await fleet.pidOf(name)}/cgroup`, "utf8").split("\n");
  const path = (list: string): string | undefined => lines.find((line) => line.split(":")[1] === list)?.split(":")[2];
  const v1 = path(controller);
  return v1 === undefined
    ? join("/sys/fs/cgroup", path("") ?? "", files.v2)
    : join("/sys/fs/cgroup", controller, v1, files.v1);
};
const limitIn = async (name: string, controller: string, files: { v1: string; v2: string }): Promise<string> =>
  readFileSync(await kernelFile(name, controller, files), "utf8").trim();

const resizeOf = async (name: string): Promise<Instance["resize"]> => (await fleet.instance(name)).resize;

describe("a resize through the API and the command line", () => {
  beforeAll(async () => {
    await fleet.run("held", {
      image: "busybox",
      command: ["sh", "-c", "dd if=/dev/zero of=/dev/shm/held bs=1M count=30 2>/dev/null; exec sleep 100000"],
      resources: { cpuMillis: 100, cpuLimitMillis: 400, memoryBytes: 64 * mebibyte, pidsMax: 40 },
    });
    await fleet.until(
      async () =>
        Number(await limitIn("held-0", "memory", { v1: "memory.usage_in_bytes", v2: "memory.current" })) >
        30 * mebibyte,
      "the program holds its memory",
    );
  });

  test("every limit changes in place, those not named stay, and the process goes on", async () => {
    const pid = await fleet.pidOf("held-0");
    const limits = ["--pids", "30", "--memory-reservation", "8Mi", "--io-write", "2Mi", "--io-read-ops", "100"];
    const done = await fleet.cli("resize", "held", ...limits);
    expect(done).toMatchObject({ code: 0 });
    expect(await readCgroupLimit(fleet, "held-0")).toEqual({ memoryBytes: 64 * mebibyte, cpuMillis: 400, pidsMax: 30 });
    const reservation = { v1: "memory.soft_limit_in_bytes", v2: "memory.low" };
    expect(await limitIn("held-0", "memory", reservation)).toBe(String(8 * mebibyte));
    const write = { v1: "blkio.throttle.write_bps_device", v2: "io.max" };
    expect(await limitIn("held-0", "blkio", write)).toContain(String(2 * mebibyte));

    const back = await fleet.cli("resize", "held", "--io-write", "none", "--memory-reservation", "none");
    expect(back).toMatchObject({ code: 0 });
    expect(await limitIn("held-0", "blkio", write)).not.toContain(String(2 * mebibyte));
    expect((await fleet.instance("held-0")).resources.io).toEqual({ readOpsPerSec: 100 });
    expect(await fleet.pidOf("held-0")).toBe(pid);
  });

  test("memory in use defers a shrink and says what would do; that is then applied", async () => {
    const shrink = await fleet.cli("resize", "held", "--memory", "16Mi", "--no-wait");
    expect(shrink).toMatchObject({ code: 0 });
    await fleet.until(async () => (await resizeOf("held-0"))?.outcome === "deferred", "the shrink is deferred");
    expect((await resizeOf("held-0"))?.detail).toContain("nearest feasible");
    expect((await readCgroupLimit(fleet, "held-0")).memoryBytes).toBe(64 * mebibyte);
    const nearest = Number(/about (\d+)$/.exec((await resizeOf("held-0"))?.detail ?? "")?.[1]);
    expect(nearest).toBeGreaterThan(30 * mebibyte);
    const patched = await fleet.http("PATCH", "/v1/workloads/held", {
      body: { spec: { resources: { memoryBytes: nearest + 8 * mebibyte } } },
    });
    expect(patched.status).toBe(202);
    await fleet.until(async () => (await resizeOf("held-0"))?.outcome === "applied", "the feasible shrink is applied");
    expect((await readCgroupLimit(fleet, "held-0")).memoryBytes).toBe(nearest + 8 * mebibyte);
  });
});

describe("who changes what was promised behind the agent's back", () => {
  const events = async (): Promise<{ held: boolean; detail: string | null }[]> => {
    const listed = await fleet.cli("events", "-o", "json");
    return listed.stdout
      .split("\n")
      .filter((line) => line.includes('"instance.contract"') && line.includes("drift-0"))
      .map((line) => (JSON.parse(line) as { data: { held: boolean; detail: string | null } }).data);
  };

  beforeAll(() =>
    fleet.run("drift", {
      image: "busybox",
      command: ["sleep", "100000"],
      resources: { cpuMillis: 100, memoryBytes: 32 * mebibyte, pidsMax: 40 },
    }),
  );

  test.each([
    ["a limit", "pids", { v1: "pids.max", v2: "pids.max" }, "77", "pids limit is 77, promised 40"],
    ["the share of the CPU", "cpu", { v1: "cpu.shares", v2: "cpu.weight" }, "900", "promised"],
  ])(
    "%s: a condition and an event tell, and tell again when it is put right",
    async (_, controller, files, value, why) => {
      const file = await kernelFile("drift-0", controller, files);
      const before = readFileSync(file, "utf8").trim();
      await fleet.until(async () => (await fleet.instance("drift-0")).contractHeld === true, "the contract is held");
      writeFileSync(file, value);
      await fleet.until(async () => (await fleet.instance("drift-0")).contractHeld === false, "the drift is seen");
      expect((await events()).at(-1)).toMatchObject({ held: false, detail: expect.stringContaining(why) });
      writeFileSync(file, before);
      await fleet.until(
        async () => (await fleet.instance("drift-0")).contractHeld === true,
        "the contract is held again",
      );
      expect((await events()).at(-1)).toMatchObject({ held: true });
    },
  );
});
