import type { ApiInventory, ApiReads, ApiWrites, Identity } from "@bulkhead/inventory";
import { fleetError } from "@bulkhead/contracts";
import { createLogger, Readiness } from "@bulkhead/service";
import { type SchedulerApp, buildApp } from "../app.ts";
import { hashToken } from "../auth/token-cache.ts";
import type { ApiSettings, SchedulerPorts } from "../ports.ts";

/** Tokens the fakes know, by role. */
export const tokens = {
  admin: "admin-token",
  editor: "editor-token",
  viewer: "viewer-token",
  join: "join-token",
  agent: "agent-token",
} as const;

const identities = new Map<string, Identity>(
  Object.entries(tokens).map(([role, token], at) => [
    hashToken(token).toString("hex"),
    {
      tokenId: `00000000-0000-7000-8000-00000000000${at}`,
      role: role as Identity["role"],
      project: role === "editor" || role === "viewer" ? "blue" : null,
      hostId: null,
      isolation: null,
    },
  ]),
);

export interface FakeApp extends SchedulerApp {
  /** what was written, commanded or woken: nothing, for a refused request */
  readonly effects: string[];
  readonly readiness: Readiness;
}

const missing = (what: string) => fleetError("NOT_FOUND", `There is no ${what}.`);

/** An app whose inventory knows the tokens, one image `app`, one host size, and nothing else; every effect is recorded. */
export const buildFakeApp = async (
  options: {
    readonly read?: Partial<ApiReads>;
    readonly ports?: Partial<SchedulerPorts>;
    readonly settings?: Partial<ApiSettings>;
  } = {},
): Promise<FakeApp> => {
  const effects: string[] = [];
  const record =
    (name: string) =>
    async (..._values: unknown[]): Promise<never> => {
      effects.push(name);
      throw new Error(`${name} is not expected`);
    };
  const read = {
    token: async (hash: Uint8Array) => identities.get(Buffer.from(hash).toString("hex")),
    largestCapacity: async () => ({ cpuMillis: 4_000, memoryBytes: 2 ** 33 }),
    usableShares: async () => [],
    share: async () => Promise.reject(missing("share")),
    findImage: async (_project: string | null, reference: string) =>
      reference === "app" ? ({ digest: `sha256:${"0".repeat(64)}` } as never) : undefined,
    workload: async () => Promise.reject(missing("workload")),
    instance: async () => Promise.reject(missing("instance")),
    host: async () => Promise.reject(missing("host")),
    image: async () => Promise.reject(missing("image")),
    operation: async () => Promise.reject(missing("operation")),
    newestEvent: async () => 0,
    eventsAfter: async () => [],
    assertCursor: async () => undefined,
    ...options.read,
  } as unknown as ApiReads;
  const inventory: ApiInventory = {
    read,
    write: async <T>(work: (tx: ApiWrites) => Promise<T>): Promise<T> =>
      work(new Proxy({}, { get: (_target, name) => record(String(name)) }) as ApiWrites),
  };
  const readiness = new Readiness();
  readiness.open();
  const built = await buildApp(
    {
      inventory,
      commands: {
        exec: record("exec"),
        logs: record("logs"),
        signal: record("signal"),
        view: record("view"),
        applyShares: record("applyShares"),
        removeShare: record("removeShare"),
      },
      images: {
        import: record("import"),
        pull: record("pull"),
        stat: async () => undefined,
        open: record("open"),
        read: async () => Promise.reject(fleetError("IMAGE_UNAVAILABLE", "It is not in the store.")),
        collect: record("collect"),
      },
      control: { wake: () => void effects.push("wake"), preview: record("preview"), join: record("join") },
      pulls: { wake: () => void effects.push("wakePulls") },
      credentials: { natsUrl: "nats://127.0.0.1:4222", mint: record("mint") },
      readiness,
      log: createLogger({ service: "test", level: "fatal" }),
      nowMs: () => performance.now(),
      ownMetrics: () => ({ contentType: "text/plain", text: "up 1\n" }),
      recordRequest: () => undefined,
      ...options.ports,
    },
    {
      version: "0.0.0",
      streamsUrl: "ws://127.0.0.1:1",
      metricsUrl: null,
      imageMaxBytes: 2 ** 20,
      streamsMax: 2,
      requestsPerSecond: 1_000,
      requestsBurst: 1_000,
      loopDelayMaxMs: 60_000,
      ...options.settings,
    },
  );
  return { ...built, effects, readiness };
};
