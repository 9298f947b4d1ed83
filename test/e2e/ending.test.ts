import { busyboxImage, unrunnableImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startFleet, type Fleet } from "../fleet.ts";

const resources = { cpuMillis: 100, memoryBytes: 32 * 1024 * 1024, pidsMax: 32 };

describe("how instances end, and what is said of it", () => {
  let fleet: Fleet;

  beforeAll(async () => {
    fleet = await startFleet();
    await fleet.importImage("busybox", await busyboxImage());
    await fleet.importImage("unrunnable", await unrunnableImage());
  });
  afterAll(() => fleet[Symbol.asyncDispose]());

  const endOf = async (name: string, spec: Record<string, unknown>, state: string) => {
    await fleet.create(name, { image: "busybox", resources, restart: { policy: "never" }, ...spec });
    return fleet.waitFor(`${name}-0`, state);
  };

  test("an exit code is kept", async () => {
    const ended = await endOf("seven", { command: ["sh", "-c", "exit 7"] }, "failed");
    expect(ended).toMatchObject({ reason: "Exited", exit: { exitCode: 7, signal: null, oomKilled: false } });
  });

  test("an exit with 0 is a stop, not a failure", async () => {
    expect(await endOf("zero", { command: ["true"] }, "stopped")).toMatchObject({
      reason: "Exited",
      exit: { exitCode: 0 },
    });
  });

  test("kill ends it with the signal that was sent", async () => {
    await fleet.run("victim", {
      image: "busybox",
      command: ["sleep", "1000"],
      resources,
      restart: { policy: "never" },
    });
    expect((await fleet.http("POST", "/v1/instances/victim-0/kill")).status).toBe(202);
    const ended = await fleet.waitFor("victim-0", "failed");
    expect(ended).toMatchObject({ reason: "Signaled", exit: { exitCode: null, signal: 9 } });
  });

  test("running out of memory is the reason, not just a signal", async () => {
    const ended = await endOf("hungry", { command: ["sh", "-c", "exec tail /dev/zero"] }, "failed");
    expect(ended).toMatchObject({ reason: "OomKilled", exit: { oomKilled: true } });
  });

  test.each([
    ["missing", "/bin/no-such-program", "EntrypointNotFound"],
    ["not-executable", "/bin/not-executable", "EntrypointNotExecutable"],
    ["wrong-architecture", "/bin/wrong-architecture", "EntrypointWrongFormat"],
    ["missing-interpreter", "/bin/missing-interpreter", "EntrypointNotFound"],
  ])("an entrypoint that is %s: failed, with the precise reason", async (name, program, reason) => {
    const ended = await endOf(name, { image: "unrunnable", command: [program] }, "failed");
    expect(ended.reason).toBe(reason);
    expect(ended.detail).toContain(program);
  });

  test("a user that the image does not have is named", async () => {
    expect(await endOf("nobody-there", { command: ["true"], user: "jemand" }, "failed")).toMatchObject({
      reason: "UserNotFound",
    });
  });

  test("a program that keeps failing is restarted with growing pauses", async () => {
    await fleet.create("flaky", {
      image: "busybox",
      command: ["sh", "-c", "exit 3"],
      resources,
      restart: { policy: "on-failure", backoffMs: 100, maxRestarts: 3 },
    });
    const ended = await fleet.waitFor("flaky-0", "failed");
    expect(ended).toMatchObject({ reason: "CrashLoop", restarts: 3, exit: { exitCode: 3 } });
  });

  test("running out of process ids is the instance's problem, not the host's", async () => {
    await fleet.run("forks", {
      image: "busybox",
      command: ["sh", "-c", "while sleep 1000 & do :; done; echo exhausted; sleep 1000"],
      resources: { ...resources, pidsMax: 16 },
    });
    await fleet.until(
      async () => (await fleet.text("/v1/instances/forks-0/logs")).includes("can't fork"),
      "it could not fork",
    );
    expect(await endOf("beside", { command: ["true"] }, "stopped")).toMatchObject({ exit: { exitCode: 0 } });
    await fleet.remove("forks");
  });
});
