import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { Digest } from "@bulkhead/contracts";
import type { ExecRequest, Run } from "@bulkhead/node";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
let busybox: Digest;
let run: Run;

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage({ users: { app: 1234 } }));
});
beforeEach(async () => {
  run = await rig.start(
    rig.assignment(busybox, { command: ["sleep", "1000"], env: { COLOR: "red" }, workingDir: "/usr" }),
  );
});
afterEach(async () => {
  await rig.clear();
  await rig.refuseLeaks();
});
afterAll(() => rig[Symbol.asyncDispose]());

const shell = (script: string, changes: Partial<ExecRequest> = {}): ExecRequest => ({
  command: ["sh", "-c", script],
  tty: false,
  ...changes,
});

const result = async (request: ExecRequest, input = "") => {
  const session = await run.exec(request);
  session.stdin.end(input);
  const [stdout, stderr, ended] = await Promise.all([
    text(session.stdout),
    session.stderr === null ? "" : text(session.stderr),
    session.ended,
  ]);
  return { stdout, stderr, ...ended };
};

test("a command has its own three streams and exit code", async () => {
  expect(await result(shell("cat; echo problem >&2; exit 5"), "from outside\n")).toEqual({
    stdout: "from outside\n",
    stderr: "problem\n",
    exitCode: 5,
    signal: null,
  });
});

test("it runs inside: environment, directory, processes, restrictions are the instance's", async () => {
  const { stdout } = await result(
    shell(
      "echo $COLOR; pwd; hostname; ls /proc | grep -c '^[0-9]'; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status",
    ),
  );
  const [color, directory, name, processes, ...status] = stdout.trim().split("\n");
  expect([color, directory, name]).toEqual(["red", "/usr", "test-0"]);
  expect(Number(processes)).toBeLessThanOrEqual(4);
  expect(status.join(" ").split(/\s+/)).toEqual(["CapEff:", "00000000a80425fb", "NoNewPrivs:", "1", "Seccomp:", "2"]);
});

test("user, directory and variables can be given", async () => {
  const { stdout } = await result(
    shell("id -u; pwd; echo $COLOR $MORE", { user: "app", workingDir: "/etc", env: { COLOR: "blue", MORE: "x" } }),
  );
  expect(stdout).toBe("1234\n/etc\nblue x\n");
});

test("much data goes through in both directions unharmed", async () => {
  const input = "0123456789abcdef".repeat(256 * 1024);
  const { stdout } = await result(shell("cat"), input);
  expect(stdout.length).toBe(input.length);
  expect(stdout === input).toBe(true);
});

test("a terminal has a size, follows its changes, and joins both outputs", async () => {
  const session = await run.exec(
    shell(
      'trap "stty size" WINCH; stty size; echo $TERM; test -t 0 && echo terminal; while true; do sleep 0.05; done',
      {
        tty: true,
        rows: 33,
        columns: 77,
      },
    ),
  );
  expect(session.stderr).toBeNull();
  let screen = "";
  session.stdout.on("data", (data: Buffer) => (screen += data.toString()));
  await expect.poll(() => screen, { timeout: 30_000 }).toContain("terminal");
  expect(screen).toBe("33 77\r\nxterm\r\nterminal\r\n");
  session.resize(40, 100);
  await expect.poll(() => screen, { timeout: 30_000 }).toContain("40 100");
  session.stdin.write("\u0003");
  expect(await session.ended).toMatchObject({ exitCode: null, signal: 2 });
  session.close();
});

test("a signal reaches the command", async () => {
  const session = await run.exec(shell("exec sleep 1000"));
  session.signal(15);
  expect(await session.ended).toMatchObject({ signal: 15 });
  session.close();
});

test("a command whose user went away is ended", async () => {
  const session = await run.exec(shell("exec sleep 1000", { tty: true }));
  expect(run.usage().pids).toBe(2);
  session.close();
  await expect.poll(() => run.usage().pids, { timeout: 30_000 }).toBe(1);
});

test("one that ignores the hang-up is killed", async () => {
  const session = await run.exec(shell("trap '' HUP; echo ready; while true; do sleep 0.1; done"));
  session.stdout.once("data", () => session.close());
  expect(await session.ended).toMatchObject({ signal: 9 });
});

test.each([
  [["/nope"], "/nope"],
  [["/etc"], "/etc"],
])("a command %j that cannot be started is EXEC_FAILED", async (command, named) => {
  await expect(run.exec({ command, tty: false })).rejects.toMatchObject({
    code: "EXEC_FAILED",
    message: expect.stringContaining(named),
  });
});

test("an unknown user is EXEC_FAILED", async () => {
  await expect(run.exec(shell("true", { user: "stranger" }))).rejects.toMatchObject({ code: "EXEC_FAILED" });
});

test("commands end with their instance", async () => {
  const session = await run.exec(shell("exec sleep 1000"));
  await run.stop(0);
  expect(await session.ended).toMatchObject({ signal: 9 });
  session.close();
  await expect(run.exec(shell("true"))).rejects.toMatchObject({ code: "STATE_CONFLICT" });
});
