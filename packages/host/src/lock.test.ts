import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempDisposable, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { acquireHostLock } from "./lock.ts";

const temporary = () => mkdtempDisposable("/tmp/bulkhead-host-lock-");

const contender = (directory: string) =>
  spawn(
    process.execPath,
    [
      "--input-type=module",
      "-e",
      `import { acquireHostLock } from ${JSON.stringify(join(import.meta.dirname, "lock.ts"))};
       process.stdin.resume();
       try { await acquireHostLock(${JSON.stringify(directory)}, "container"); console.log("held"); }
       catch (error) { console.log(error.code); process.exit(0); }`,
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );

const answerOf = async (child: ReturnType<typeof contender>): Promise<string> => {
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return line;
};

const end = async (child: ReturnType<typeof contender>): Promise<void> => {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }
};

test("a second agent of the same kind is refused, of another kind is not", async () => {
  await using directory = await temporary();
  await using lock = await acquireHostLock(directory.path, "container");
  expect(lock.holder.pid).toBe(process.pid);
  await expect(acquireHostLock(directory.path, "container")).rejects.toMatchObject({
    code: "STATE_CONFLICT",
    message: expect.stringContaining(`pid ${process.pid}`),
  });
  await using other = await acquireHostLock(directory.path, "vm");
  expect(other.holder.pid).toBe(process.pid);
});

test("a released lock can be taken again", async () => {
  await using directory = await temporary();
  for (let turn = 0; turn < 3; turn += 1) {
    await using lock = await acquireHostLock(directory.path, "container");
    expect(lock.holder.pid).toBe(process.pid);
  }
  expect(await readdir(join(directory.path, "container"))).toEqual(["3"]);
});

test("the lock of a killed process is free", async () => {
  await using directory = await temporary();
  const child = contender(directory.path);
  expect(await answerOf(child)).toBe("held");
  await expect(acquireHostLock(directory.path, "container")).rejects.toMatchObject({ code: "STATE_CONFLICT" });
  await end(child);
  await using lock = await acquireHostLock(directory.path, "container");
  expect(lock.holder.pid).toBe(process.pid);
});

test("of many contenders for a dead holder's lock exactly one gets it", { timeout: 30_000 }, async () => {
  await using directory = await temporary();
  const dead = contender(directory.path);
  await answerOf(dead);
  await end(dead);
  const contenders = Array.from({ length: 6 }, () => contender(directory.path));
  try {
    const answers = await Promise.all(contenders.map(answerOf));
    expect(answers.filter((answer) => answer === "held")).toHaveLength(1);
    expect(answers.filter((answer) => answer === "STATE_CONFLICT")).toHaveLength(5);
  } finally {
    await Promise.all(contenders.map(end));
  }
});

test("a torn holder file counts as nobody", async () => {
  await using directory = await temporary();
  await (await acquireHostLock(directory.path, "container"))[Symbol.asyncDispose]();
  await writeFile(join(directory.path, "container", "1"), '{"pid":');
  await using lock = await acquireHostLock(directory.path, "container");
  expect(lock.holder.pid).toBe(process.pid);
});
