import { assignment, FakeHost, instanceId, settle } from "@bulkhead/testkit/runtime";
import { describe, expect, test } from "vitest";
import { StartFailure } from "./index.ts";

const one = instanceId(1);
const minute = 60_000;

describe("restarts", () => {
  test("back-off doubles, is counted, and ends in CrashLoop", async () => {
    const host = new FakeHost();
    await host.start();
    const restart = { policy: "always", backoffMs: 1_000, maxRestarts: 3 } as const;
    host.control.assign(assignment({ spec: { command: ["exit7"], restart } }));
    await settle();
    expect(host.control.newest(one)).toMatchObject({ state: "backoff", reason: "Exited", exit: { exitCode: 7 } });
    await host.clock.advance(999);
    expect(host.runtime.started).toHaveLength(1);
    await host.clock.advance(1);
    expect(host.runtime.started).toHaveLength(2);
    await host.clock.advance(1_999);
    expect(host.runtime.started).toHaveLength(2);
    await host.clock.advance(minute);
    expect(host.runtime.started.map(({ key }) => key.attempt)).toEqual([0, 1, 2, 3]);
    expect(host.control.newest(one)).toMatchObject({ state: "failed", reason: "CrashLoop", restarts: 3 });
    expect(host.control.newest(one).detail).toBe("gave up after 3 restarts; last: exited with code 7");
  });

  test("a user's restart request revives it with a fresh budget", async () => {
    const host = new FakeHost();
    await host.start();
    const restart = { policy: "on-failure", maxRestarts: 0 } as const;
    host.control.assign(assignment({ spec: { command: ["exit7"], restart } }));
    await settle();
    expect(host.control.newest(one).reason).toBe("CrashLoop");
    host.control.update(one, { restartRequest: 1 });
    await settle();
    expect(host.runtime.started).toHaveLength(2);
  });

  test.each(["EntrypointNotFound", "MountNotAllowed", "ImageInvalid"] as const)("%s is final", async (reason) => {
    const host = new FakeHost();
    host.runtime.script.start = () => new StartFailure(reason, "the precise text");
    await host.start();
    host.control.assign(assignment({ spec: { restart: { policy: "always" } } }));
    await host.clock.advance(10 * minute);
    expect(host.control.newest(one)).toMatchObject({ state: "failed", reason, detail: "the precise text", exit: null });
    expect(host.runtime.started).toHaveLength(1);
  });

  test("a detail is cut between characters, not through one", async () => {
    const host = new FakeHost();
    const command = `/${"a/".repeat(1022)}a\u{1f600}b`;
    host.runtime.script.start = () => new StartFailure("EntrypointNotFound", `"${command}" is not in the image`);
    await host.start();
    host.control.assign(assignment());
    await settle();
    expect(host.control.newest(one).detail).toBe(`"${command.slice(0, command.indexOf("\u{1f600}"))}`);
  });

  test("a missing image is waited for, under every policy, without using up an attempt", async () => {
    const host = new FakeHost();
    let missing = true;
    host.runtime.script.prepare = () => (missing ? new StartFailure("ImageUnavailable", "no such digest") : undefined);
    await host.start();
    host.control.assign(assignment({ spec: { restart: { policy: "never" } } }));
    await host.clock.advance(minute);
    expect(host.control.newest(one)).toMatchObject({ state: "backoff", reason: "ImageUnavailable", restarts: 0 });
    missing = false;
    await host.clock.advance(minute);
    expect(host.control.newest(one)).toMatchObject({ state: "running", attempt: 0 });
  });

  test("whatever else is thrown is RuntimeFailed, and its text reaches the user", async () => {
    const host = new FakeHost();
    host.runtime.script.start = () => {
      throw new TypeError("a bug");
    };
    await host.start();
    host.control.assign(assignment({ spec: { restart: { policy: "never" } } }));
    await settle();
    expect(host.control.newest(one)).toMatchObject({ state: "failed", reason: "RuntimeFailed", detail: "a bug" });
  });

  test("nothing starts while its epoch cannot be recorded; it is told, and starts when there is room", async () => {
    const host = new FakeHost();
    const agent = await host.start();
    host.storage.full = true;
    host.control.assign(assignment());
    await host.clock.advance(100);
    expect(host.runtime.started).toEqual([]);
    expect(host.control.newest(one)).toMatchObject({ state: "backoff", reason: "DiskFull", attempt: 0 });
    expect(agent.problems).toEqual(["state directory: ENOSPC: no space left on device, write"]);
    host.storage.full = false;
    await host.clock.advance(5_000);
    expect(host.control.newest(one)).toMatchObject({ state: "running", attempt: 0 });
    expect(agent.problems).toEqual([]);
  });

  test("a kernel that refuses to pause is asked again, and shown", async () => {
    const host = new FakeHost();
    const agent = await host.start();
    host.control.assign(assignment());
    await settle();
    const run = host.runtime.run(one);
    run.failing.pause = new Error("EBUSY");
    host.control.update(one, { desired: "paused" });
    await settle();
    expect(agent.problems).toEqual(["pause of web-1 failed: EBUSY"]);
    run.failing = {};
    await host.clock.advance(minute);
    expect(run.paused).toBe(true);
    expect(agent.problems).toEqual([]);
  });
});
