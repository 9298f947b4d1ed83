import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const fixture = fileURLToPath(new URL("testing/sample-service.ts", import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly messages: string[];
}

/** Runs the sample service; `on` says which signal to send when a message was logged. */
const run = async (
  mode: string,
  on: Record<string, NodeJS.Signals>,
  env: Record<string, string> = {},
): Promise<Ended> => {
  const child = spawn(process.execPath, [fixture, mode], {
    env: { ...process.env, NODE_NO_WARNINGS: "1", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const messages: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => {
    const { msg } = JSON.parse(line) as { msg: string };
    messages.push(msg);
    const signal = on[msg];
    if (signal !== undefined) child.kill(signal);
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, messages };
};

test("SIGTERM: readiness first, then resources in reverse order, exit code 0", async () => {
  expect(await run("normal", { "service started": "SIGTERM" })).toEqual({
    code: 0,
    messages: [
      "service started",
      "stopping",
      "closed second, ready false",
      "closed first, ready false",
      "service stopped",
    ],
  });
});

test("a second signal exits at once with 128 + its number", async () => {
  const ended = await run("stuck", { "service started": "SIGTERM", "closing hangs": "SIGINT" });
  expect(ended.code).toBe(130);
  expect(ended.messages).not.toContain("service stopped");
});

test("a resource that does not close runs into the one deadline", async () => {
  const ended = await run("stuck", { "service started": "SIGTERM" }, { BULKHEAD_SHUTDOWN_MS: "200" });
  expect([ended.code, ended.messages.at(-1)]).toEqual([1, "shutdown deadline missed"]);
});

test.each(["rejection", "exception", "failing-start", "fail"])(
  "%s is fatal, and what is open still closes",
  async (mode) => {
    const ended = await run(mode, {});
    expect(ended.code).toBe(1);
    expect(ended.messages).toContain("service failed");
    expect(ended.messages).toContain("closed first, ready false");
  },
);

test("a release that fails is logged, the others still run, exit code 1", async () => {
  const ended = await run("failing-close", { "service started": "SIGTERM" });
  expect(ended.code).toBe(1);
  expect(ended.messages).toContain("resource not released");
  expect(ended.messages).toContain("closed first, ready false");
});

test("an invalid configuration ends with 78 and names the variable", async () => {
  const ended = await run("normal", {}, { BULKHEAD_LOG_LEVEL: "loud" });
  expect(ended.code).toBe(78);
});

test("--print-config says every setting, and starts nothing", () => {
  const { status, stdout } = spawnSync(process.execPath, [fixture, "normal", "--print-config"], {
    env: { ...process.env, NODE_NO_WARNINGS: "1", T_SIZE: "4" },
    encoding: "utf8",
  });
  expect({ status, stdout }).toEqual({
    status: 0,
    stdout: "BULKHEAD_LOG_LEVEL=info\nBULKHEAD_SHUTDOWN_MS=10000\nT_SIZE=4\n",
  });
  const bad = spawnSync(process.execPath, [fixture, "normal", "--print-config"], {
    env: { ...process.env, NODE_NO_WARNINGS: "1", T_SIZE: "many" },
    encoding: "utf8",
  });
  expect(bad.status).toBe(78);
  expect(bad.stdout).toContain("T_SIZE");
  expect(bad.stdout).not.toContain("service started");
});

test("told to stop while starting: abandons the start and closes what is open", async () => {
  const ended = await run("slow-start", { "still starting": "SIGTERM" });
  expect(ended).toMatchObject({ code: 0 });
  expect(ended.messages).not.toContain("service started");
  expect(ended.messages).toContain("closed first, ready false");
});
