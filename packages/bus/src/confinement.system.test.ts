import { spawnSync } from "node:child_process";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TestDirectory } from "@bulkhead/testkit/servers";
import { expect, test } from "vitest";
import { confine, viewPath } from "./confinement.ts";
import { ServerProcess } from "./server-process.ts";
import { systemUser } from "./system-user.ts";

test("a program below a 0700 home runs as another account, which can read it there and write nothing", async () => {
  await using home = await TestDirectory.make("confinement");
  const files = join(home.path, "home/checkout");
  await mkdir(files, { recursive: true });
  const script = 'id -u; cat "$0"; echo x > /mnt/view/new || echo refused; grep -c NoNewPrivs:.1 /proc/self/status\n';
  await writeFile(join(files, "run.sh"), script, { mode: 0o755 });
  await chmod(join(home.path, "home"), 0o700);
  const command = [...confine({ user: await systemUser("nobody"), view: { from: files } }), "sh", `${viewPath}/run.sh`];
  const [program = "", ...args] = command;
  const ran = spawnSync(program, args, { encoding: "utf8" });
  expect(ran.stdout).toBe(`65534\n${script}refused\n1\n`);
  // The mounts were the program's own.
  expect(await readFile("/proc/self/mounts", "utf8")).not.toContain(viewPath);
  const without = spawnSync("setpriv", ["--reuid", "65534", "--clear-groups", "--regid", "65534", "ls", files]);
  expect(without.status).not.toBe(0);
});

test("it keeps the process id it was spawned with, and its last lines are in the message", async () => {
  const server = new ServerProcess({
    name: "sample",
    command: [...confine({ user: await systemUser("nobody") }), "sh", "-c", "echo $$; echo why >&2; exit 3"],
  });
  const { code } = await server.exited;
  expect([code, server.tail]).toEqual([3, expect.stringContaining(String(server.pid)) as string]);
  await expect(server.ready(async () => undefined, 1_000)).rejects.toMatchObject({
    code: "SETUP_FAILED",
    message: expect.stringMatching(/exit code 3 while starting.*why/s) as string,
  });
});

test("one that never gets ready runs into its deadline, one that does not stop is killed", async () => {
  const server = new ServerProcess({
    name: "stubborn",
    command: ["sh", "-c", "trap '' TERM; echo up; exec sleep 1000"],
  });
  await server.ready(async () => {
    if (!server.tail.includes("up")) throw new Error("silent");
  }, 5_000);
  const never = server.ready(async () => Promise.reject(new Error("still loading")), 100);
  await expect(never).rejects.toThrow(/not ready within 100 ms \(still loading\)/);
  expect((await server.stop("SIGTERM", 100)).signal).toBe("SIGKILL");
  expect(server.running).toBe(false);
});
