import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { lockHolder, takeUpLock } from "./lock.ts";

const directory = mkdtempSync(join(tmpdir(), "bulkhead-lock-"));
afterAll(() => rmSync(directory, { recursive: true }));

const holderScript = `
import { takeUpLock } from ${JSON.stringify(new URL("./lock.ts", import.meta.url).href)};
globalThis.kept = takeUpLock(process.argv[1]);
console.log(globalThis.kept === undefined ? "refused" : "taken");
setInterval(() => undefined, 1000);
`;

const start = async (path: string): Promise<{ said: string; kill: () => Promise<void> }> => {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", holderScript, path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [said] = (await once(child.stdout, "data")) as [Buffer];
  return {
    said: said.toString().trim(),
    kill: async () => {
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
};

test("a second start while one runs is refused; the lock dies with its holder, also by kill -9", async () => {
  const path = join(directory, "new", "up.lock");
  const first = await start(path);
  expect(first.said).toBe("taken");
  const second = await start(path);
  expect(second.said).toBe("refused");
  await second.kill();
  expect(lockHolder(path)?.pid).toBeGreaterThan(0);
  await first.kill();
  expect(lockHolder(path)).toBeUndefined();
  using lock = takeUpLock(path);
  expect(lock?.holder.pid).toBe(process.pid);
  expect(lockHolder(path)).toEqual(lock?.holder);
});

test("a released lock can be taken again", () => {
  const path = join(directory, "again.lock");
  {
    using lock = takeUpLock(path);
    expect(lock).toBeDefined();
  }
  expect(lockHolder(path)).toBeUndefined();
  using lock = takeUpLock(path);
  expect(lock).toBeDefined();
});

test("a lock file that names nobody, or a pid that is somebody else's now, has no holder", () => {
  const path = join(directory, "stale.lock");
  expect(lockHolder(path)).toBeUndefined();
  writeFileSync(path, "{");
  expect(lockHolder(path)).toBeUndefined();
  writeFileSync(path, JSON.stringify({ pid: process.pid, startTicks: 1 }));
  expect(lockHolder(path)).toBeUndefined();
});
