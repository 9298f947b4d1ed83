import { execFile, execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Host, Instance } from "@bulkhead/contracts";
import { redisImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readCgroupLimit } from "../cgroup.ts";
import { startFleet, type Fleet } from "../fleet.ts";

const mebibyte = 1024 * 1024;
const shell = promisify(execFile);

/** The README's first session, typed word for word but for the image, which is built before. */
describe("a first session on the command line", () => {
  let fleet: Fleet;

  /** What a command printed on standard output; fails when the command did. */
  const typed = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await fleet.cli(...args);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    return stdout;
  };

  beforeAll(async () => {
    fleet = await startFleet();
  });
  afterAll(() => fleet[Symbol.asyncDispose]());

  test("hosts: the machine, with the room it has", async () => {
    expect(await typed("hosts")).toMatch(/^HOST\b/);
    const hosts = JSON.parse(await typed("hosts", "-o", "json")) as Host[];
    expect(hosts).toMatchObject([{ state: "ready", unknownInstances: [] }]);
  });

  test("images import and images: name and digest", async () => {
    const imported = await typed("images", "import", await redisImage(), "--name", "redis");
    expect(imported).toMatch(/^redis:latest sha256:[0-9a-f]{64}\n$/);
    const images = JSON.parse(await typed("images", "-o", "json")) as { names: string[]; digest: string }[];
    expect(images.map(({ names, digest }) => `${names.join()} ${digest}\n`)).toEqual([imported]);
  });

  test("run answers when it runs", async () => {
    const command = ["--", "redis-server", "--save", ""];
    expect(await typed("run", "redis", "--name", "cache", "--memory", "64Mi", ...command)).toBe("cache-0\n");
    expect(fleet.isAlive(await fleet.pidOf("cache-0"))).toBe(true);
  });

  test("ps and inspect say the same of it", async () => {
    expect(await typed("ps")).toMatch(/^INSTANCE .*\ncache-0 +running .*64Mi.*\n$/);
    const listed = JSON.parse(await typed("ps", "-o", "json")) as Instance[];
    expect(listed).toMatchObject([
      { name: "cache-0", state: "running", restarts: 0, resources: { memoryBytes: 64 * mebibyte } },
    ]);
    const inspected = JSON.parse(await typed("inspect", "cache-0", "-o", "json")) as Instance;
    expect(inspected).toMatchObject({ id: listed[0]?.id, state: "running", contractHeld: true });
    expect(await typed("inspect", "cache")).toContain("cache-0");
    expect(await typed("ps", "-q")).toBe("cache-0\n");
  });

  test("exec writes, a resize while it runs loses nothing, exec reads", async () => {
    // Redis listens a moment after its process has begun.
    await fleet.until(
      async () => (await fleet.cli("exec", "cache", "redis-cli", "ping")).stdout === "PONG\n",
      "redis answered",
    );
    expect(await typed("exec", "cache", "redis-cli", "set", "greeting", "hello")).toBe("OK\n");
    const pid = await fleet.pidOf("cache-0");
    const resized = await typed("resize", "cache", "--memory", "128Mi", "--cpu-limit", "0.5");
    expect(resized).toMatch(/\ncache-0 +\S+ +0\.5 +128Mi +applied\n$/);
    expect(await readCgroupLimit(fleet, "cache-0")).toMatchObject({ memoryBytes: 128 * mebibyte, cpuMillis: 500 });
    expect(await fleet.pidOf("cache-0")).toBe(pid);
    expect(await typed("exec", "cache", "redis-cli", "get", "greeting")).toBe("hello\n");
  });

  test("exec passes standard error and the exit code on", async () => {
    expect(await fleet.cli("exec", "cache", "sh", "-c", "echo said; echo oops >&2; exit 7")).toMatchObject({
      code: 7,
      stdout: "said\n",
      stderr: "oops\n",
    });
  });

  test("logs: the last lines, and no more", async () => {
    const whole = (await typed("logs", "cache")).trimEnd().split("\n");
    expect(whole.length).toBeGreaterThan(2);
    expect(await typed("logs", "cache", "--tail", "2")).toBe(`${whole.slice(-2).join("\n")}\n`);
    expect(whole.join("\n")).toContain("Ready to accept connections");
  });

  test("events: what happened, in order", async () => {
    const events = (await typed("events", "-o", "json"))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { id: number; type: string; data: { name?: string; state?: string } });
    const ids = events.map(({ id }) => id);
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    const text = await typed("events");
    expect(text.trimEnd().split("\n")).toHaveLength(events.length);
    expect(events.some(({ type }) => type === "instance.state")).toBe(true);
  });

  test("an impossible wish: what is wrong, the nearest value that works, a failure for scripts", async () => {
    const { code, stdout, stderr } = await fleet.cli("run", "redis", "--name", "big", "--cpu", "64");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^bulkhead: .*needs 64000 cpuMillis; the largest host has \d+\. \(LIMIT_INFEASIBLE\)\n/);
    expect(stderr).toMatch(/^ {2}nearest feasible: cpuMillis = \d+$/m);
    expect(await typed("ps", "-q")).toBe("cache-0\n");
    const nearest = /nearest feasible: cpuMillis = (\d+)/.exec(stderr)?.[1] ?? "";
    expect((await fleet.cli("run", "redis", "--name", "big", "--cpu", `${nearest}m`, "--dry-run")).code).toBe(0);
  });

  test("a name that does not exist: not found, by its own exit code", async () => {
    for (const args of [["inspect"], ["logs"], ["stop"], ["rm"]]) {
      const { code, stderr } = await fleet.cli(...args, "nobody");
      expect([code, stderr]).toEqual([5, expect.stringMatching(/nobody.*\(NOT_FOUND\)/)]);
    }
    expect(await fleet.cli("exec", "nobody", "true")).toMatchObject({ code: 5 });
  });

  test("a mistyped command or option costs nothing and is explained", async () => {
    expect(await fleet.cli("pss")).toMatchObject({ code: 2, stderr: expect.stringContaining("bulkhead ps") });
    expect(await fleet.cli("run", "redis", "--memroy", "1Gi")).toMatchObject({ code: 2, stdout: "" });
  });

  test("a wrong token is refused, from the environment and from a context", async () => {
    const wrong = "not-the-token";
    const refused = { code: 4, stdout: "", stderr: expect.stringContaining("UNAUTHENTICATED") };
    expect(await fleet.cliWith({ BULKHEAD_URL: fleet.apiUrl, BULKHEAD_TOKEN: wrong }, "ps")).toMatchObject(refused);
    expect(await fleet.cliWith({ BULKHEAD_URL: fleet.apiUrl }, "ps")).toMatchObject({ code: 2 });
    const file = join(fleet.directory, "wrong-token");
    writeFileSync(file, `${wrong}\n`);
    const contexts = { BULKHEAD_CONTEXT_FILE: join(fleet.directory, "other-context.json") };
    const set = await fleet.cliWith(contexts, "context", "set", "bad", "--url", fleet.apiUrl, "--token-file", file);
    expect(set.code).toBe(0);
    expect(await fleet.cliWith(contexts, "ps")).toMatchObject(refused);
    const { output } = await fleet.cliWith(contexts, "context", "-o", "json");
    expect(JSON.parse(output)).toMatchObject([{ name: "bad", url: fleet.apiUrl, current: true }]);
    expect(output).not.toContain(wrong);
  });

  test("an API that is not there: said so, by its own exit code", async () => {
    // Port 9 (discard) is served by nothing on a machine of ours.
    const nowhere = { BULKHEAD_URL: "http://127.0.0.1:9", BULKHEAD_TOKEN: "any" };
    expect(await fleet.cliWith(nowhere, "ps")).toMatchObject({ code: 3, stdout: "" });
  });

  test("--print-request: a curl command that works, with the token left out", async () => {
    const { code, stdout, stderr } = await fleet.cli("ps", "-o", "json", "--print-request");
    expect(code).toBe(0);
    const [command = "", ...more] = stderr.trimEnd().split("\n");
    expect(more).toEqual([]);
    expect(command).toMatch(/^curl /);
    expect(command).not.toContain(fleet.token);
    const env = { PATH: process.env["PATH"], BULKHEAD_TOKEN: fleet.token };
    const answer = JSON.parse((await shell("bash", ["-c", command], { env })).stdout) as { items: Instance[] };
    expect(answer.items.map(({ id }) => id)).toEqual((JSON.parse(stdout) as Instance[]).map(({ id }) => id));
    expect(await fleet.http("GET", "/v1/workloads/shown")).toMatchObject({ status: 404 });
    const created = await fleet.cli("run", "redis", "-n", "shown", "--print-request", "--dry-run");
    const post = created.stderr.split("\n").find((line) => line.includes("--request POST")) ?? "";
    const planned = await shell("bash", ["-c", post], { env });
    expect(JSON.parse(planned.stdout)).toMatchObject({
      placements: [{ name: "shown-0", hostName: expect.any(String) }],
    });
    expect(await fleet.http("GET", "/v1/workloads/shown")).toMatchObject({ status: 404 });
  });

  test.each(["bash", "zsh", "fish"])("completion %s prints a script", async (name) => {
    const script = await typed("completion", name);
    expect(script).toContain("resize");
    if (name === "bash") execFileSync("bash", ["-n"], { input: script });
  });

  test("completion in bash: commands, and the names that exist", async () => {
    expect(await typed("__complete", "workloads")).toBe("cache\n");
    expect((await typed("__complete", "instances")).trimEnd().split("\n").toSorted()).toEqual(["cache", "cache-0"]);
  });

  test("stop, then rm: nothing is left of it", async () => {
    const { id } = await fleet.instance("cache-0");
    const pid = await fleet.pidOf("cache-0");
    expect(await typed("stop", "cache")).toBe("cache-0 stopped\n");
    expect(fleet.isAlive(pid)).toBe(false);
    expect(await typed("ps")).toMatch(/\ncache-0 +stopped .*StoppedByUser/);
    expect(await typed("rm", "cache")).toBe("cache removed\n");
    expect(await typed("ps", "-q")).toBe("");
    expect(fleet.tracesOf(id)).toEqual([]);
  });
});
