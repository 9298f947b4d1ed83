import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startFleet, type Fleet, type ServiceName } from "../fleet.ts";

const resources = { cpuMillis: 50, memoryBytes: 16 * 1024 * 1024, pidsMax: 16 };

/**
 * Every instance appends a line to a file of its own in a shared directory each time its entrypoint runs: the file says
 * whether something was started twice, whatever the database believes.
 */
describe("kill -9 of each service, one at a time", () => {
  let fleet: Fleet;
  let shared: string;

  const starts = (name: string): number => {
    const file = join(shared, `${name}.starts`);
    return readdirSync(shared).includes(`${name}.starts`) ? readFileSync(file, "utf8").split("\n").length - 1 : 0;
  };

  const counting = (name: string, then: string) => ({
    image: "busybox",
    command: ["sh", "-c", `echo started >> /shared/${name}.starts; ${then}`],
    resources,
    restart: { policy: "never" as const },
    mounts: [{ hostPath: shared, path: "/shared", readOnly: false }],
  });

  beforeAll(async () => {
    fleet = await startFleet();
    shared = mkdtempSync(join(fleet.sharedDirectory, "kill-"));
    await fleet.importImage("busybox", await busyboxImage());
    await Promise.all(["old-a", "old-b", "old-c"].map((name) => fleet.run(name, counting(name, "exec sleep 100000"))));
  });
  afterAll(() => fleet[Symbol.asyncDispose]());

  test.each<ServiceName>(["scheduler", "container-node", "metrics", "nats-server", "postgres"])(
    "%s: what runs runs on, what was starting starts once, all converges",
    async (service) => {
      const before = await Promise.all(["old-a-0", "old-b-0", "old-c-0"].map((name) => fleet.pidOf(name)));
      const names = Array.from({ length: 6 }, (_, index) => `${service}-${index}`);
      const created = names.map((name) => fleet.createStubbornly(name, counting(name, "exec sleep 100000")));
      await Promise.race(created);
      await fleet.kill(service);
      await Promise.all(created);
      await Promise.all(names.map((name) => fleet.waitFor(`${name}-0`, "running", 60_000)));
      // `running` is said when the program is executed; its first line of output comes a moment after.
      await fleet.until(() => names.every((name) => starts(name) > 0), "every program wrote that it began");
      expect(names.map((name) => [name, starts(name)])).toEqual(names.map((name) => [name, 1]));
      expect(await Promise.all(["old-a-0", "old-b-0", "old-c-0"].map((name) => fleet.pidOf(name)))).toEqual(before);
      expect(["old-a", "old-b", "old-c"].map(starts)).toEqual([1, 1, 1]);
      await Promise.all(names.map((name) => fleet.remove(name)));
    },
    120_000,
  );

  test("the exit code of a container that ended while the agent was down is reported", async () => {
    await fleet.run("leaver", counting("leaver", "until [ -e /shared/go ]; do sleep 0.05; done; exit 42"));
    await fleet.kill("container-node", {
      whileDown: async () => {
        const pid = await fleet.pidOf("leaver-0");
        writeFileSync(join(shared, "go"), "");
        await fleet.until(() => !fleet.isAlive(pid), "the container ended");
      },
    });
    const ended = await fleet.waitFor("leaver-0", "failed");
    expect(ended).toMatchObject({ reason: "Exited", exit: { exitCode: 42 } });
    expect(starts("leaver")).toBe(1);
  });

  test("kill -9 of up: services die with it, instances do not, the next up adopts them", async () => {
    const pid = await fleet.pidOf("old-a-0");
    const services = await fleet.servicePids();
    await fleet.killUp();
    await fleet.until(
      () => Object.values(services).every((service) => !fleet.isAlive(service)),
      "every service died with up",
    );
    expect(fleet.isAlive(pid)).toBe(true);
    await fleet.startUp();
    expect(await fleet.waitFor("old-a-0", "running")).toMatchObject({ attempt: 0, restarts: 0 });
    expect(await fleet.pidOf("old-a-0")).toBe(pid);
    expect(starts("old-a")).toBe(1);
  });

  test("a second up is refused while one runs, and says so", async () => {
    const second = await fleet.secondUp();
    expect(second.code).not.toBe(0);
    expect(second.output).toMatch(/running already/i);
    expect((await fleet.http("GET", "/readyz")).status).toBe(200);
  });
});
