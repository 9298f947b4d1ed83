import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type HostCredential,
  type HostFacts,
  type HostId,
  type Isolation,
  type Problem,
  uuidV7,
} from "@bulkhead/contracts";
import { type Bus, connectBus, makeUserKey, mintHostUser, readSigner } from "@bulkhead/bus";
import { type Inventory, migrate, openInventory } from "@bulkhead/inventory";
import { createLogger, Readiness } from "@bulkhead/service";
import { type TestNats, type TestPostgres, startNats, startPostgres } from "@bulkhead/testkit/servers";
import { randomBytes } from "node:crypto";
import { busCommands } from "../agent-commands.ts";
import { type SchedulerApp, buildApp } from "../app.ts";
import { checkAnswers } from "./answer-check.ts";
import { hashToken } from "../auth/token-cache.ts";
import { ControlLoop } from "../control/index.ts";
import { type ImageStoreOptions, openImageStore } from "../images/image-store.ts";
import { PullRunner } from "../images/pull-runner.ts";
import type { ImageStore } from "../ports.ts";
import { FakeAgent, testFacts } from "./fake-agent.ts";

/** Token of the administrator in tests. */
export const adminToken = "bulkhead_test_administrator_0123456789";

export interface TestAnswer<Body> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Body;
}

export interface CallOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly token?: string;
}

/** A scheduler as main.ts makes it, on real servers and a free port. */
export class TestFleet implements AsyncDisposable {
  readonly postgres: TestPostgres;
  readonly nats: TestNats;
  readonly inventory: Inventory;
  readonly bus: Bus;
  readonly control: ControlLoop;
  readonly images: ImageStore;
  readonly pulls: PullRunner;
  readonly scheduler: SchedulerApp;
  readonly url: string;
  readonly #directory: string;
  readonly #violations: readonly string[];
  readonly #agents: FakeAgent[] = [];

  private constructor(parts: {
    postgres: TestPostgres;
    nats: TestNats;
    inventory: Inventory;
    bus: Bus;
    control: ControlLoop;
    images: ImageStore;
    pulls: PullRunner;
    scheduler: SchedulerApp;
    url: string;
    directory: string;
    violations: readonly string[];
  }) {
    this.postgres = parts.postgres;
    this.nats = parts.nats;
    this.inventory = parts.inventory;
    this.bus = parts.bus;
    this.control = parts.control;
    this.images = parts.images;
    this.pulls = parts.pulls;
    this.scheduler = parts.scheduler;
    this.url = parts.url;
    this.#directory = parts.directory;
    this.#violations = parts.violations;
  }

  static async start(
    options: { imageMaxBytes?: number; streamsMax?: number; images?: Partial<ImageStoreOptions> } = {},
  ): Promise<TestFleet> {
    const [postgres, nats] = await Promise.all([startPostgres({ migrate }), startNats({ keys: true })]);
    const log = createLogger({ service: "test", level: "error" });
    const nowMs = () => performance.now();
    const inventory = openInventory({ databaseUrl: await postgres.database(), poolMax: 8, log });
    await inventory.api.write((tx) => tx.upsertAdminToken(hashToken(adminToken)));
    const bus = await connectBus({ ...(await nats.service("scheduler")), log });
    const signer = await readSigner(nats.keys.scheduler.hostSignerFile);
    const directory = await mkdtemp(join(tmpdir(), "bulkhead-scheduler-"));
    const images = await openImageStore({ root: directory, maxBytes: 2 ** 30, ...options.images });
    let onEvents = (): void => undefined;
    const control = new ControlLoop(
      { store: inventory.control, bus, log, nowMs, onEvents: () => onEvents() },
      { times: { takeoverGraceMs: 0 } },
    );
    const pulls = new PullRunner({ images, inventory: inventory.api, log, onWritten: () => control.wake() });
    const readiness = new Readiness();
    readiness.open();
    // The port is known only after listening; agents are told the address with each stream.
    const settings = {
      version: "0.0.0",
      streamsUrl: "",
      metricsUrl: null,
      imageMaxBytes: options.imageMaxBytes ?? 2 ** 30,
      streamsMax: options.streamsMax ?? 32,
      requestsPerSecond: 10_000,
      requestsBurst: 10_000,
      // None: a second in which this process got no turn at all counts as an endless delay, whatever the limit.
      loopDelayMaxMs: 0,
    };
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const scheduler = await buildApp(
      {
        inventory: inventory.api,
        commands: busCommands(bus),
        images,
        control,
        pulls,
        credentials: {
          natsUrl: nats.url,
          mint: async ({ hostId, ...agent }) => mintHostUser({ signer, hostId: hostId as HostId, ...agent }),
        },
        readiness,
        log,
        nowMs,
        ownMetrics: () => ({ contentType: "text/plain", text: "" }),
        recordRequest: () => undefined,
      },
      { ...settings, streamsUrl: url.replace("http", "ws") },
    );
    onEvents = () => scheduler.feed.wake();
    const violations = checkAnswers(scheduler.app);
    await scheduler.app.listen({ host: "127.0.0.1", port });
    control.start();
    return new TestFleet({
      postgres,
      nats,
      inventory,
      bus,
      control,
      images,
      pulls,
      scheduler,
      url,
      directory,
      violations,
    });
  }

  async call<Body = Problem>(method: string, path: string, options: CallOptions = {}): Promise<TestAnswer<Body>> {
    const answer = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${options.token ?? adminToken}`,
        ...(options.body === undefined ? {} : { "content-type": "application/json" }),
        ...options.headers,
      },
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    });
    const text = await answer.text();
    return {
      status: answer.status,
      headers: answer.headers,
      body: (text === "" ? undefined : JSON.parse(text)) as Body,
    };
  }

  /** Rows of any statement, to look at what was written. */
  async query<Row = Record<string, unknown>>(text: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.inventory.database.pool.query(text, values)).rows as Row[];
  }

  /** Joins a host through the API and runs a fake agent on it. */
  async addHost(name: string, options: { isolation?: Isolation; facts?: HostFacts } = {}): Promise<FakeAgent> {
    const { publicKey, seed } = makeUserKey();
    const hostId = uuidV7(Date.now(), randomBytes(10)) as HostId;
    const isolation = options.isolation ?? "container";
    const facts = options.facts ?? testFacts();
    const { status, body } = await this.call<HostCredential>("POST", "/internal/hosts/join", {
      body: { hostId, name, isolation, publicKey, facts },
    });
    if (status !== 201) throw new Error(`join answered ${status}: ${JSON.stringify(body)}`);
    const agent = await FakeAgent.start({ credential: body, seed, hostId, isolation, facts });
    this.#agents.push(agent);
    return agent;
  }

  /** Records an image without blobs, for workloads that nothing really runs. */
  async addImage(name: string, project = "default"): Promise<string> {
    const digest = `sha256:${randomBytes(32).toString("hex")}` as const;
    const change = { tokenId: uuidV7(Date.now(), randomBytes(10)), project, traceId: null, traceparent: null };
    const config = {
      architecture: "amd64",
      os: "linux",
      entrypoint: [],
      cmd: ["/bin/true"],
      env: [],
      user: "",
      workingDir: "",
      stopSignal: null,
      exposedPorts: [],
      labels: {},
    };
    await this.inventory.api.write((tx) =>
      tx.recordImage(change, { digest: digest as never, sizeBytes: 1, layers: [], config, names: [`${name}:latest`] }),
    );
    return digest;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.scheduler.app.close();
    await this.pulls[Symbol.asyncDispose]();
    await this.control.stop();
    for (const agent of this.#agents) await agent[Symbol.asyncDispose]();
    await this.bus[Symbol.asyncDispose]();
    await this.inventory[Symbol.asyncDispose]();
    await Promise.all([this.postgres[Symbol.asyncDispose](), this.nats[Symbol.asyncDispose]()]);
    await rm(this.#directory, { recursive: true, force: true });
    if (this.#violations.length > 0) throw new Error(`answers broke their schemas: ${this.#violations.join("; ")}`);
  }
}

const freePort = async (): Promise<number> => {
  const { createServer } = await import("node:net");
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => {
    server.close(resolve);
  });
  return port;
};

/** A workload that fits a test host. */
export const workload = (name: string, spec: Record<string, unknown> = {}) => ({
  name,
  spec: { image: "app", resources: { cpuMillis: 100, memoryBytes: 64 * 2 ** 20 }, ...spec },
});
