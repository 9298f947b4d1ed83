import { connect } from "node:net";
import { mkdtempSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { redisImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readCgroupLimit } from "../cgroup.ts";
import { startFleet, type Fleet } from "../fleet.ts";

const mebibyte = 1024 * 1024;

/** One RESP command over a Unix socket; resolves with the raw reply. */
const askRedis = (path: string, command: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.setTimeout(5_000, () => socket.destroy(new Error("redis did not answer")));
    socket.once("connect", () => socket.write(`${command}\r\n`));
    socket.once("data", (data) => {
      socket.destroy();
      resolve(data.toString("utf8"));
    });
    socket.once("error", reject);
  });

describe("a real redis from Debian's packages", () => {
  let fleet: Fleet;
  let shared: string;

  beforeAll(async () => {
    fleet = await startFleet();
    shared = mkdtempSync(join(fleet.sharedDirectory, "redis-"));
    await fleet.importImage("redis", await redisImage());
    await fleet.run("cache", {
      image: "redis",
      user: "root",
      command: [
        "redis-server",
        "--port",
        "0",
        "--unixsocket",
        "/run/shared/redis.sock",
        "--unixsocketperm",
        "777",
        "--save",
        "",
      ],
      resources: { cpuMillis: 250, cpuLimitMillis: 500, memoryBytes: 64 * mebibyte, pidsMax: 64 },
      mounts: [{ hostPath: shared, path: "/run/shared", readOnly: false }],
    });
  });
  afterAll(() => fleet[Symbol.asyncDispose]());

  test("answers through a Unix socket in a shared directory", async () => {
    await fleet.until(() => readdirSync(shared).includes("redis.sock"), "redis made its socket");
    expect(await askRedis(join(shared, "redis.sock"), "PING")).toBe("+PONG\r\n");
    expect(await askRedis(join(shared, "redis.sock"), "SET greeting hello")).toBe("+OK\r\n");
  });

  test("answers to exec inside, seeing the same data", async () => {
    expect(await fleet.exec("cache-0", ["redis-cli", "-s", "/run/shared/redis.sock", "GET", "greeting"])).toMatchObject(
      {
        exitCode: 0,
        stdout: "hello\n",
      },
    );
  });

  test("the exit code and standard error of a failing command come back", async () => {
    const result = await fleet.exec("cache-0", ["sh", "-c", "echo oops >&2; exit 7"]);
    expect(result).toMatchObject({ exitCode: 7, stderr: "oops\n", stdout: "" });
  });

  test("its log is there, from the first line", async () => {
    const log = await fleet.text("/v1/instances/cache-0/logs");
    expect(log).toContain("Redis is starting");
    expect(log).toContain("ready to accept connections at /run/shared/redis.sock");
  });

  test("its limits are what was asked, by the kernel's own files", async () => {
    const limit = await readCgroupLimit(fleet, "cache-0");
    expect(limit).toMatchObject({ memoryBytes: 64 * mebibyte, cpuMillis: 500, pidsMax: 64 });
    expect((await fleet.instance("cache-0")).contractHeld).toBe(true);
  });

  test("memory and CPU are resized while it runs: same process, same data", async () => {
    const before = await fleet.instance("cache-0");
    const patched = await fleet.http("PATCH", "/v1/workloads/cache", {
      body: { spec: { resources: { memoryBytes: 96 * mebibyte, cpuLimitMillis: 750 } } },
    });
    expect(patched.status).toBe(202);
    await fleet.until(
      async () => (await fleet.instance("cache-0")).resize?.generation === before.generation + 1,
      "the resize was reported",
    );
    const after = await fleet.instance("cache-0");
    expect(after.resize).toMatchObject({ outcome: "applied" });
    expect(after.startedAt).toBe(before.startedAt);
    expect(after.attempt).toBe(before.attempt);
    expect(await readCgroupLimit(fleet, "cache-0")).toMatchObject({
      memoryBytes: 96 * mebibyte,
      cpuMillis: 750,
      pidsMax: 64,
    });
    expect(await askRedis(join(shared, "redis.sock"), "GET greeting")).toContain("hello");
  });

  test("a limit below what it uses is refused or deferred, and kills nothing", async () => {
    const before = await fleet.instance("cache-0");
    // 40 MiB of data that cannot be reclaimed.
    expect(
      await fleet.exec("cache-0", ["redis-cli", "-s", "/run/shared/redis.sock", "SETRANGE", "big", "41943040", "x"]),
    ).toMatchObject({ exitCode: 0 });
    await fleet.http("PATCH", "/v1/workloads/cache", { body: { spec: { resources: { memoryBytes: 8 * mebibyte } } } });
    await fleet.until(
      async () => ((await fleet.instance("cache-0")).resize?.generation ?? 0) > before.generation,
      "the second resize was answered",
      30_000,
    );
    const after = await fleet.instance("cache-0");
    expect(["deferred", "infeasible"]).toContain(after.resize?.outcome);
    expect(after.state).toBe("running");
    expect(await askRedis(join(shared, "redis.sock"), "PING")).toBe("+PONG\r\n");
    expect(await readCgroupLimit(fleet, "cache-0")).toMatchObject({ memoryBytes: 96 * mebibyte });
    await fleet.http("PATCH", "/v1/workloads/cache", { body: { spec: { resources: { memoryBytes: 96 * mebibyte } } } });
  });

  test("pauses and resumes", async () => {
    await fleet.act("cache-0", "pause", "paused");
    await expect(askRedis(join(shared, "redis.sock"), "PING").catch((error: Error) => error.message)).resolves.toBe(
      "redis did not answer",
    );
    await fleet.act("cache-0", "resume", "running");
    expect(await askRedis(join(shared, "redis.sock"), "PING")).toBe("+PONG\r\n");
  });

  test("restarts on request: a new process of the same instance", async () => {
    const before = await fleet.instance("cache-0");
    await fleet.http("POST", "/v1/instances/cache-0/restart");
    await fleet.until(async () => {
      const now = await fleet.instance("cache-0");
      return now.state === "running" && now.startedAt !== before.startedAt;
    }, "it runs anew");
    expect((await fleet.instance("cache-0")).id).toBe(before.id);
    // A first process that has not installed its handlers yet is deaf to signals (pid_namespaces(7)).
    const answers = (): Promise<boolean> =>
      askRedis(join(shared, "redis.sock"), "PING").then(
        (reply) => reply === "+PONG\r\n",
        () => false,
      );
    await fleet.until(answers, "redis answers again");
  });

  test("stops within its grace, by its own shut-down", async () => {
    await fleet.act("cache-0", "stop", "stopped");
    const stopped = await fleet.instance("cache-0");
    expect(stopped.reason).toBe("StoppedByUser");
    expect(stopped.exit).toMatchObject({ exitCode: 0, oomKilled: false });
  });

  test("is removed without a trace", async () => {
    const id = (await fleet.instance("cache-0")).id;
    await fleet.remove("cache");
    expect(await fleet.http("GET", "/v1/instances/cache-0")).toMatchObject({ status: 404 });
    expect(fleet.tracesOf(id)).toEqual([]);
  });
});
