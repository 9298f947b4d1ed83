import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadConfig, setting, type Environment } from "@bulkhead/service";
import { Type } from "typebox";

/** State of the fleet that a machine has when nobody says otherwise (FHS: /var/lib). */
const mainStateDir = "/var/lib/bulkhead";

/** What `up` and `down` read; everything has a place of its own per state directory, so fleets can live side by side. */
const UpConfig = Type.Object({
  stateDir: setting("BULKHEAD_STATE_DIR", Type.String({ default: mainStateDir, pattern: "^/" })),
  runDir: setting("BULKHEAD_RUN_DIR", Type.String({ default: "/run/bulkhead", pattern: "^/" })),
  apiPort: setting("BULKHEAD_API_PORT", Type.Integer({ default: 7480, minimum: 1, maximum: 65_535 })),
  metricsPort: setting("BULKHEAD_METRICS_PORT", Type.Integer({ default: 7481, minimum: 1, maximum: 65_535 })),
  natsPort: setting("BULKHEAD_NATS_PORT", Type.Integer({ default: 7482, minimum: 1, maximum: 65_535 })),
  databaseUrl: setting("DATABASE_URL", Type.Optional(Type.String()), { secret: true }),
  natsUrl: setting("BULKHEAD_NATS_URL", Type.Optional(Type.String())),
  /** how often the agent reads limits, CPUs and namespaces back from the kernel, in milliseconds */
  contractMs: setting("BULKHEAD_CONTRACT_MS", Type.Integer({ default: 30_000, minimum: 500, maximum: 3_600_000 })),
  mountAllow: setting("BULKHEAD_MOUNT_ALLOW", Type.Array(Type.String({ pattern: "^/" }), { default: [] }), {
    separator: ":",
  }),
  contextName: setting("BULKHEAD_CONTEXT_NAME", Type.String({ default: "local", minLength: 1 })),
});

/** Where things of one fleet lie. Paths are absolute. */
export interface Layout {
  /** the checkout this code runs from */
  readonly checkout: string;
  readonly state: string;
  readonly control: string;
  readonly postgresData: string;
  readonly nats: string;
  readonly blobs: string;
  readonly keys: string;
  readonly adminToken: string;
  /** credentials of registries, the scheduler's own */
  readonly registryAuth: string;
  readonly logs: string;
  readonly cache: string;
  /** on the agent's mount allow-list, so that the first session has a directory to share */
  readonly shared: string;
  readonly lock: string;
  /** parent of every host's per-boot directory */
  readonly run: string;
  /** per boot, of this `up`; short, because a socket's path has at most 107 bytes */
  readonly runUp: string;
  readonly postgresSocket: string;
  readonly processes: string;
}

/** The machine's own fleet, as opposed to one that a test or a developer has beside it. */
export const isMainFleet = ({ state }: Pick<Layout, "state">): boolean => state === mainStateDir;

export type UpSettings = ReturnType<typeof readUpSettings>;

const checkout = dirname(dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url))))));

/** Settings and places of the fleet that the environment names. Throws CONFIG_INVALID naming every bad variable. */
export const readUpSettings = (environment: Environment) => {
  const config = loadConfig(UpConfig, environment);
  const state = config.stateDir.replace(/\/+$/, "");
  const control = join(state, "control");
  const keys = join(control, "keys");
  const runUp = join(config.runDir, `up-${createHash("sha256").update(state).digest("hex").slice(0, 8)}`);
  const layout: Layout = {
    checkout,
    state,
    control,
    postgresData: join(control, "postgres", "data"),
    nats: join(control, "nats"),
    blobs: join(control, "blobs"),
    keys,
    adminToken: join(keys, "scheduler", "admin-token"),
    registryAuth: join(control, "registry", "auth.json"),
    logs: join(state, "logs"),
    cache: join(state, "cache"),
    shared: join(state, "shared"),
    lock: join(state, "up.lock"),
    run: config.runDir,
    runUp,
    postgresSocket: join(runUp, "postgres"),
    processes: join(runUp, "processes.json"),
  };
  const apiUrl = `http://127.0.0.1:${config.apiPort}`;
  return { config, layout, apiUrl, metricsUrl: `http://127.0.0.1:${config.metricsPort}` };
};
