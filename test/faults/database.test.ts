import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startFleet, type Fleet } from "../fleet.ts";

const resources = { cpuMillis: 50, memoryBytes: 16 * 1024 * 1024, pidsMax: 16 };

describe("a database that is not the one the hosts knew", () => {
  let fleet: Fleet;
  let shared: string;
  let backup: string;
  const postgres = (): string => join(fleet.stateDirectory, "control", "postgres");

  const sleeper = (name: string) => ({
    image: "busybox",
    command: ["sh", "-c", `echo started >> /shared/${name}.starts; exec sleep 100000`],
    resources,
    mounts: [{ hostPath: shared, path: "/shared", readOnly: false }],
  });
  const starts = (name: string): number => {
    const file = join(shared, `${name}.starts`);
    return existsSync(file) ? readFileSync(file, "utf8").split("\n").length - 1 : 0;
  };

  /** Runs it, and waits until its program wrote that it began: `running` is said when the program is executed. */
  const runSleeper = async (name: string): Promise<void> => {
    await fleet.run(name, sleeper(name));
    await fleet.until(() => starts(name) > 0, `${name} wrote that it began`);
  };

  beforeAll(async () => {
    fleet = await startFleet();
    shared = mkdtempSync(join(fleet.sharedDirectory, "database-"));
    backup = mkdtempSync("/tmp/bulkhead-test-backup-");
    await fleet.importImage("busybox", await busyboxImage());
    await runSleeper("first");
  });
  afterAll(async () => {
    rmSync(backup, { recursive: true, force: true });
    await fleet[Symbol.asyncDispose]();
  });

  test("a wrong DATABASE_URL: up says so, and no instance is stopped", async () => {
    const pid = await fleet.pidOf("first-0");
    await fleet.stopUp();
    const failed = await fleet.secondUp({ DATABASE_URL: "postgres://nobody:wrong@127.0.0.1:9/none" });
    expect(failed.code).not.toBe(0);
    expect(failed.output).toMatch(/DATABASE_URL|database/i);
    expect(failed.output).not.toContain("wrong");
    expect(fleet.isAlive(pid)).toBe(true);
    await fleet.startUp();
    expect(await fleet.waitFor("first-0", "running")).toMatchObject({ attempt: 0 });
  });

  test("a restored old one: what it still knows is adopted, what it does not know is kept and listed", async () => {
    await fleet.stopUp();
    execFileSync("cp", ["-a", postgres(), join(backup, "postgres")]);
    await fleet.startUp();
    await runSleeper("second");
    const pids = [await fleet.pidOf("first-0"), await fleet.pidOf("second-0")];
    await fleet.stopUp();
    await fleet.replaceDatabase(join(backup, "postgres"));
    await fleet.startUp();
    expect(await fleet.waitFor("first-0", "running")).toMatchObject({ restarts: 0 });
    expect(await fleet.http("GET", "/v1/workloads/second")).toMatchObject({ status: 404 });
    await fleet.until(async () => {
      const hosts = await fleet.hosts();
      return hosts[0]?.unknownInstances.some(({ name }) => name === "second-0") === true;
    }, "the unknown instance is listed");
    expect(pids.map((pid) => fleet.isAlive(pid))).toEqual([true, true]);
    expect([starts("first"), starts("second")]).toEqual([1, 1]);
  });

  test("after the restore the fleet goes on: new work starts, and nothing old was started twice", async () => {
    await runSleeper("third");
    expect([starts("first"), starts("second"), starts("third")]).toEqual([1, 1, 1]);
    await fleet.remove("third");
  });

  test("an empty one: no instance is stopped, all are kept and listed", async () => {
    const pid = fleet.pidFromKernel("first-0");
    await fleet.stopUp();
    rmSync(postgres(), { recursive: true });
    await fleet.startUp();
    await fleet.until(async () => {
      const hosts = await fleet.hosts();
      const names = hosts.flatMap((host) => host.unknownInstances.map(({ name }) => name));
      return names.includes("first-0") && names.includes("second-0");
    }, "both unknown instances are listed");
    expect(fleet.isAlive(pid)).toBe(true);
    expect([starts("first"), starts("second")]).toEqual([1, 1]);
  });
});
