import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { existsSync } from "node:fs";
import { text } from "node:stream/consumers";
import type { Run } from "@bulkhead/node";
import { builtConflictImages, redisImage } from "@bulkhead/testkit/images";
import { Rig } from "./testing/rig.ts";

let rig: Rig;

beforeAll(async () => {
  rig = await Rig.open();
});
afterEach(async () => {
  await rig.clear();
  await rig.refuseLeaks();
});
afterAll(() => rig[Symbol.asyncDispose]());

const answerOf = async (run: Run, command: readonly string[]): Promise<string> => {
  const session = await run.exec({ command, tty: false });
  session.stdin.end();
  return (await text(session.stdout)).trim();
};

test("a real server runs as its own user, answers, is resized while it works, and stops cleanly", async () => {
  const image = await rig.image(await redisImage());
  const run = await rig.start(rig.assignment(image, { resources: { memoryBytes: 64 * 2 ** 20 } }));
  const redis = (...words: string[]) => answerOf(run, ["redis-cli", "-s", "/run/redis/redis.sock", ...words]);
  await expect.poll(() => redis("ping"), { timeout: 30_000 }).toBe("PONG");
  expect(await redis("set", "key", "value")).toBe("OK");
  expect(await run.resize({ cpuMillis: 300, cpuLimitMillis: 800, memoryBytes: 128 * 2 ** 20 })).toEqual({
    outcome: "applied",
  });
  expect(await redis("get", "key")).toBe("value");
  expect(await answerOf(run, ["id", "-u"])).toBe("999");
  expect(run.checkContract()).toEqual({ held: true, violations: [] });
  await run.stop(10_000);
  expect(await run.ended).toMatchObject({ reason: "StoppedByUser", exit: { exitCode: 0 } });
  expect(await rig.output(run)).toContain("Ready to accept connections");
});

test("two programs whose files and libraries conflict run side by side, each with its own", async () => {
  const { images, command, conflictingFile } = await builtConflictImages();
  const runs = await Promise.all(
    images.map(async ({ path }) =>
      rig.start(rig.assignment(await rig.image(path), { command: ["sleep", "1000"], resources: { cpuMillis: 50 } })),
    ),
  );
  const versions = await Promise.all(runs.map((run) => answerOf(run, command)));
  expect(versions).toEqual(images.map(({ version }) => version));
  const files = await Promise.all(runs.map((run) => answerOf(run, ["cat", conflictingFile])));
  expect(files).toEqual(["instance = first", "instance = second"]);
  expect(existsSync(conflictingFile)).toBe(false);
});
