import type { Assignment, Digest, WorkloadSpec } from "@bulkhead/contracts";
import { StartFailure, type ExecSession, type Run, type Runtime } from "@bulkhead/node";
import { describe, expect, test } from "vitest";
import { assignment, instanceId } from "./builders.ts";
import { resizePromise } from "./resize-promise.ts";
import { snapshotPromise } from "./snapshot-promise.ts";
import { begin, clear, collect, eventually, failureOf, read, text, untroubled } from "./suite-tools.ts";

/**
 * What the suite starts. `sleep` runs until told otherwise; `stubborn` ignores its stop signal
 * and writes "deaf" once it does; `cat` ends with 0 by
 * itself; `exit7` writes "to stdout" and "to stderr", a line each, and ends with 7; `oom` touches more memory than it may;
 * `spin` uses all CPU time it gets; `missing` names a program that the image does not have.
 */
export type ProgramKind = "sleep" | "stubborn" | "cat" | "exit7" | "oom" | "spin" | "missing";

export interface SuiteOptions {
  spec(kind: ProgramKind): WorkloadSpec;
  /** image of all specs */
  readonly imageDigest?: Digest;
  /** commands for exec: copies input to output; ends with 3; is not in the image */
  readonly commands: Readonly<Record<"cat" | "exit3" | "missing", readonly string[]>>;
  /** false: what it starts has the size it started with; default true */
  readonly resizes?: boolean;
  /** true: what runs can be taken to files, from which others start; default false */
  readonly snapshots?: boolean;
  /** how long any one thing may take, in milliseconds */
  readonly deadlineMs?: number;
}

/** One runtime on a host of its own. */
export interface RuntimeFixture extends AsyncDisposable {
  readonly runtime: Runtime;
  /** The runtime of the next agent on that host: the first is gone, what it started is not. */
  successor(): Promise<Runtime>;
}

/** What every runtime must do, whatever isolates its instances. One description, run by the fake and the real ones. */
export const runtimeSuite = (name: string, makeFixture: () => Promise<RuntimeFixture>, options: SuiteOptions): void => {
  const deadlineMs = options.deadlineMs ?? 10_000;

  const wish = (kind: ProgramKind, n = 1): Assignment => ({
    ...assignment({ n }),
    ...(options.imageDigest === undefined ? {} : { imageDigest: options.imageDigest }),
    spec: options.spec(kind),
  });

  describe(`runtime ${name}`, () => {
    test("a started run is listed until it is released", async () => {
      await using fixture = await makeFixture();
      const { runtime } = fixture;
      const run = await begin(runtime, wish("sleep"));
      expect(run.key).toEqual({ instanceId: instanceId(1), epoch: { era: 1, n: 1 }, attempt: 0 });
      expect((await runtime.list()).map(({ key }) => key)).toEqual([run.key]);
      await run.stop(1_000);
      await run.ended;
      expect(await runtime.list()).toHaveLength(1);
      await run.release();
      expect(await runtime.list()).toEqual([]);
      await runtime.remove(run.key.instanceId);
    });

    test("exit codes are kept", async () => {
      await using fixture = await makeFixture();
      const { runtime } = fixture;
      const failed = await begin(runtime, wish("exit7", 1));
      const clean = await begin(runtime, wish("cat", 2));
      expect(await failed.ended).toMatchObject({
        reason: "Exited",
        exit: { exitCode: 7, signal: null, oomKilled: false },
      });
      const { exit } = await clean.ended;
      expect(exit.exitCode).toBe(0);
      expect(Date.parse(exit.finishedAt)).toBeGreaterThanOrEqual(Date.parse(exit.startedAt));
      await clear(runtime, failed, clean);
    });

    test("an ended run takes no signal, and stopping it again is no error", async () => {
      await using fixture = await makeFixture();
      const run = await begin(fixture.runtime, wish("cat"));
      await run.ended;
      expect(run.signal(15)).toBe(false);
      await run.stop(1_000);
      await clear(fixture.runtime, run);
    });

    test("a signal ends the run and is the reason", async () => {
      await using fixture = await makeFixture();
      const run = await begin(fixture.runtime, wish("sleep"));
      expect(run.signal(9)).toBe(true);
      expect(await run.ended).toMatchObject({ reason: "Signaled", exit: { exitCode: null, signal: 9 } });
      await clear(fixture.runtime, run);
    });

    /** A program that has come to where it ignores its stop signal; before, that signal ends it. */
    const beginStubborn = async ({ runtime }: RuntimeFixture): Promise<Run> => {
      const run = await begin(runtime, wish("stubborn"));
      const said = () => collect(runtime.logs(run.key.instanceId, { follow: false }, untroubled()));
      await eventually(async () => (await said()).some((line) => text(line) === "deaf"), deadlineMs);
      return run;
    };

    test("stopping is the reason, even where it takes SIGKILL", async () => {
      await using fixture = await makeFixture();
      const run = await beginStubborn(fixture);
      await run.stop(100);
      expect(await run.ended).toMatchObject({ reason: "StoppedByUser", exit: { signal: 9 } });
      await clear(fixture.runtime, run);
    });

    test("a second stop with a shorter grace overtakes the first", async () => {
      await using fixture = await makeFixture();
      const run = await beginStubborn(fixture);
      const patient = run.stop(3_600_000);
      await run.stop(0);
      await patient;
      expect((await run.ended).exit.signal).toBe(9);
      await clear(fixture.runtime, run);
    });

    test("a program that is not there fails precisely and leaves nothing", async () => {
      await using fixture = await makeFixture();
      const error = await failureOf(begin(fixture.runtime, wish("missing")));
      expect(error).toBeInstanceOf(StartFailure);
      expect(error).toMatchObject({ reason: "EntrypointNotFound" });
      expect((error as StartFailure).message).not.toBe("");
      expect(await fixture.runtime.list()).toEqual([]);
      await fixture.runtime.remove(instanceId(1));
    });

    test("a start that was given up leaves nothing", async () => {
      await using fixture = await makeFixture();
      const { runtime } = fixture;
      const wanted = wish("sleep");
      await runtime.prepare(wanted, untroubled());
      const key = { instanceId: wanted.instanceId, epoch: wanted.epoch, attempt: 0 };
      const error = await failureOf(runtime.start({ key, assignment: wanted }, AbortSignal.abort()));
      expect(error).toBeInstanceOf(Error);
      expect(await runtime.list()).toEqual([]);
      await runtime.remove(wanted.instanceId);
    });

    test("memory beyond the limit ends the run, and is the reason", async () => {
      await using fixture = await makeFixture();
      const run = await begin(fixture.runtime, wish("oom"));
      expect(await run.ended).toMatchObject({ reason: "OomKilled", exit: { oomKilled: true } });
      await clear(fixture.runtime, run);
    });

    test("a paused run gets no CPU time, and goes on when resumed", async () => {
      await using fixture = await makeFixture();
      const { runtime } = fixture;
      const paused = await begin(runtime, wish("spin", 1));
      // Its progress is the clock of this test.
      const other = await begin(runtime, wish("spin", 2));
      const used = (run: Run): number => run.usage().cpuUsageNs;
      await eventually(() => used(paused) > 0, deadlineMs);
      await paused.pause();
      expect(paused.paused).toBe(true);
      const [before, otherBefore] = [used(paused), used(other)];
      await eventually(() => used(other) - otherBefore > 50_000_000, deadlineMs);
      expect(used(paused) - before).toBeLessThan(20_000_000);
      await paused.resume();
      expect(paused.paused).toBe(false);
      await eventually(() => used(paused) - before > 20_000_000, deadlineMs);
      await clear(runtime, paused, other);
    });

    test("a paused run can be stopped", async () => {
      await using fixture = await makeFixture();
      const run = await begin(fixture.runtime, wish("sleep"));
      await run.pause();
      await run.stop(100);
      expect((await run.ended).reason).toBe("StoppedByUser");
      await clear(fixture.runtime, run);
    });

    test.each([resizePromise(options.resizes ?? true)])("$promise", async ({ tried }) => {
      await using fixture = await makeFixture();
      const wanted = wish("sleep");
      const run = await begin(fixture.runtime, wanted);
      expect(run.checkContract()).toEqual({ held: true, violations: [] });
      expect(run.usage().memoryLimitBytes).toBe(wanted.spec.resources.memoryBytes);
      await tried(run);
      expect(run.checkContract()).toEqual({ held: true, violations: [] });
      expect(run.usage().pids).toBeGreaterThan(0);
      await clear(fixture.runtime, run);
    });

    test.each([snapshotPromise(options.snapshots ?? false)])("$promise", async ({ tried }) => {
      await using fixture = await makeFixture();
      const wanted = wish("sleep");
      const run = await begin(fixture.runtime, wanted);
      await tried(fixture.runtime, { run, another: wish("sleep", 2), cat: options.commands.cat });
      expect((await fixture.runtime.list()).map(({ key }) => key)).toEqual([run.key]);
      await clear(fixture.runtime, run);
    });

    test("both streams are logged in order of writing, kept after the end, and gone after removal", async () => {
      await using fixture = await makeFixture();
      const { runtime } = fixture;
      const run = await begin(runtime, wish("exit7"));
      await run.ended;
      await run.release();
      const lines = await collect(runtime.logs(instanceId(1), { follow: false }, untroubled()));
      expect(lines.map((line) => `${line.stream}: ${text(line)}`).toSorted()).toEqual([
        "stderr: to stderr",
        "stdout: to stdout",
      ]);
      expect(lines.every(({ at, complete }) => complete && !Number.isNaN(Date.parse(at)))).toBe(true);
      expect(await collect(runtime.logs(instanceId(1), { follow: false, tailLines: 1 }, untroubled()))).toHaveLength(1);
      await runtime.remove(instanceId(1));
      expect(await collect(runtime.logs(instanceId(1), { follow: false }, untroubled()))).toEqual([]);
    });

    test("following a log ends when its reader goes", async () => {
      await using fixture = await makeFixture();
      const run = await begin(fixture.runtime, wish("sleep"));
      const reader = new AbortController();
      const followed = collect(fixture.runtime.logs(instanceId(1), { follow: true }, reader.signal));
      reader.abort();
      expect(await followed).toEqual([]);
      await clear(fixture.runtime, run);
    });

    test("a command in the instance has input, output and an exit code", async () => {
      await using fixture = await makeFixture();
      const run = await begin(fixture.runtime, wish("sleep"));
      const echo: ExecSession = await run.exec({ command: options.commands.cat, tty: false });
      const output = read(echo.stdout);
      echo.stdin.end("through and back\n");
      expect(await output).toBe("through and back\n");
      expect(await echo.ended).toEqual({ exitCode: 0, signal: null });
      const failing = await run.exec({ command: options.commands.exit3, tty: false });
      expect(await failing.ended).toEqual({ exitCode: 3, signal: null });
      await expect(run.exec({ command: options.commands.missing, tty: false })).rejects.toMatchObject({
        code: "EXEC_FAILED",
      });
      await clear(fixture.runtime, run);
    });

    test("closing a command's session ends the command, not the instance", async () => {
      await using fixture = await makeFixture();
      const run = await begin(fixture.runtime, wish("sleep"));
      const session = await run.exec({ command: options.commands.cat, tty: false });
      session.close();
      expect((await session.ended).exitCode).not.toBe(0);
      expect(run.usage().pids).toBeGreaterThan(0);
      await clear(fixture.runtime, run);
    });

    test("the next agent finds living and ended runs as they are", async () => {
      await using fixture = await makeFixture();
      const living = await begin(fixture.runtime, wish("sleep", 1));
      const ended = await begin(fixture.runtime, wish("exit7", 2));
      await ended.ended;
      const next = await fixture.successor();
      const found = new Map((await next.list()).map((run) => [run.key.instanceId, run]));
      const [again, over] = [found.get(instanceId(1)), found.get(instanceId(2))];
      expect(again?.key).toEqual(living.key);
      expect(again?.assignment).toEqual(living.assignment);
      expect(again?.startedAt).toBe(living.startedAt);
      expect(await over?.ended).toMatchObject({ reason: "Exited", exit: { exitCode: 7 } });
      await again?.stop(1_000);
      expect((await again?.ended)?.reason).toBe("StoppedByUser");
      for (const run of [again, over]) if (run !== undefined) await clear(next, run);
      expect(await next.list()).toEqual([]);
    });

    test("attempts follow each other, and many instances start at once", async () => {
      await using fixture = await makeFixture();
      const { runtime } = fixture;
      const first = await begin(runtime, wish("exit7"), 0);
      await first.ended;
      await first.release();
      const second = await begin(runtime, wish("sleep"), 1);
      const others = await Promise.all([2, 3, 4, 5, 6, 7, 8].map((n) => begin(runtime, wish("sleep", n))));
      expect(await runtime.list()).toHaveLength(8);
      await clear(runtime, second, ...others);
      expect(await runtime.list()).toEqual([]);
    });

    test("removing what was never there, or twice, is no error", async () => {
      await using fixture = await makeFixture();
      await fixture.runtime.remove(instanceId(9));
      const run = await begin(fixture.runtime, wish("cat"));
      await run.ended;
      await clear(fixture.runtime, run);
      await fixture.runtime.remove(run.key.instanceId);
      expect(await fixture.runtime.list()).toEqual([]);
    });
  });
};
