import { expect, test } from "vitest";
import type { Standstill } from "../engine/engine.ts";
import { runPlace } from "../testing/run-place.ts";
import { haltOf } from "./halt.ts";
import { RunHalt } from "./run-halt.ts";

const patience = { againMs: 5, overdueMs: 200 };

/** A run whose monitor and guest do what the test says. */
const stage = async () => {
  const place = await runPlace();
  const run = {
    over: false,
    /** how often its monitor was told to go on */
    asked: 0,
    /** how often its guest let its processes go on */
    thawed: 0,
    /** what its monitor and its guest do when they are asked */
    monitor: (): void => undefined,
    guest: (): void => undefined,
  };
  const standstill: Standstill = {
    begin: () => Promise.reject(new Error("not asked for here")),
    save: () => Promise.reject(new Error("not asked for here")),
    end: async () => {
      run.asked += 1;
      run.monitor();
    },
  };
  const talk = async (): Promise<void> => {
    run.guest();
    run.thawed += 1;
  };
  const halt = new RunHalt({ standstill, paths: place.paths, talk, over: () => run.over }, patience);
  const close = async (): Promise<void> => {
    halt.leave();
    await place[Symbol.asyncDispose]();
  };
  return { paths: place.paths, run, halt, [Symbol.asyncDispose]: close };
};

const fails = (): never => {
  throw new Error("nobody listens");
};

test("a run is marked and held while something is done, and goes on afterwards", async () => {
  await using at = await stage();
  const inside = at.halt.during(async () => [haltOf(at.paths), at.halt.held, at.run.asked]);
  await expect(at.halt.during(() => Promise.resolve())).rejects.toMatchObject({ code: "STATE_CONFLICT" });
  expect(await inside).toEqual(["thaw", true, 0]);
  expect([haltOf(at.paths), at.halt.held, at.run.asked, at.run.thawed]).toEqual([null, false, 1, 1]);
});

test("it goes on when what was done fails, and that failure is told", async () => {
  await using at = await stage();
  await expect(at.halt.during(() => Promise.reject(new Error("the disk is full")))).rejects.toThrow("the disk is full");
  expect([haltOf(at.paths), at.halt.held, at.run.thawed]).toEqual([null, false, 1]);
});

test("a monitor and a guest that do not answer at first are asked again", async () => {
  await using at = await stage();
  at.run.monitor = () => (at.run.asked < 3 ? fails() : undefined);
  at.run.guest = () => (at.run.asked < 5 ? fails() : undefined);
  await at.halt.during(() => Promise.resolve());
  expect([at.run.asked, at.run.thawed, at.halt.stuck]).toEqual([5, 1, null]);
});

test("one that does not go on in time is told of, stays marked, and is asked until it does", async () => {
  await using at = await stage();
  at.run.guest = fails;
  await expect(at.halt.during(() => Promise.resolve())).rejects.toMatchObject({
    code: "SNAPSHOT_STANDSTILL",
    message: expect.stringMatching(/nobody listens/) as string,
  });
  expect([haltOf(at.paths), at.halt.held, at.halt.stuck]).toEqual([
    "thaw",
    true,
    expect.stringMatching(/stand still since a snapshot, .*: nobody listens/),
  ]);
  await expect(at.halt.during(() => Promise.resolve())).rejects.toMatchObject({ code: "STATE_CONFLICT" });
  at.run.guest = () => undefined;
  await expect.poll(() => at.halt.held, { interval: 5 }).toBe(false);
  expect([haltOf(at.paths), at.halt.stuck, at.run.thawed]).toEqual([null, null, 1]);
});

test("a failure of what was done is told, also of a run that does not go on either", async () => {
  await using at = await stage();
  at.run.guest = fails;
  await expect(at.halt.during(() => Promise.reject(new Error("the disk is full")))).rejects.toThrow("the disk is full");
  expect(at.halt.stuck).toMatch(/nobody listens/);
});

test("nothing waits for a run that has ended", async () => {
  await using at = await stage();
  at.run.guest = () => {
    at.run.over = true;
    fails();
  };
  await at.halt.during(() => Promise.resolve());
  expect([at.run.asked, at.halt.held, at.halt.stuck]).toEqual([1, false, null]);
});
