import { join } from "node:path";
import { createControlKeys, NatsServer, natsTrustConfig, type ControlKeys, type SystemUser } from "@bulkhead/bus";
import { createClient, type Client } from "@bulkhead/client";
import type { Isolation } from "@bulkhead/contracts";
import { fleetError } from "@bulkhead/contracts/errors";
import { PostgresServer } from "@bulkhead/service/postgres";
import { writeFile } from "node:fs/promises";
import { LogFile } from "./log-file.ts";
import { NodeService } from "./service.ts";
import type { UpSettings } from "./settings.ts";
import type { Steps } from "./steps.ts";
import type { Supervisor } from "./supervisor.ts";
import type { ServiceUser } from "./users.ts";

export interface FleetParts {
  readonly settings: UpSettings;
  readonly users: Readonly<Record<ServiceUser, SystemUser>>;
  readonly adminToken: string;
  readonly keys: ControlKeys;
  readonly supervisor: Supervisor;
  readonly steps: Steps;
  /** the caller's environment: what is meant for our services is passed on */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Variables of the user that concern services, beside those `up` sets itself. */
const passedOn =
  /^(OTEL_.*|BULKHEAD_LOG_LEVEL|BULKHEAD_REGISTRY_.*|BULKHEAD_IMAGE_.*|BULKHEAD_HOST_.*|BULKHEAD_KERNEL_DIR|NODE_EXTRA_CA_CERTS)$/;

const serviceEnvironment = (parts: FleetParts): Record<string, string> =>
  Object.fromEntries(
    Object.entries(parts.environment).flatMap(([name, value]) =>
      value !== undefined && passedOn.test(name) ? [[name, value] as const] : [],
    ),
  );

/** Throws until a service says that it is ready; the text says what it waits for. */
const askReady = async (url: string): Promise<void> => {
  const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) });
  if (!answer.ok) throw new Error(`${url}/readyz answers ${answer.status}: ${await answer.text()}`);
};

const logOf = (parts: FleetParts, name: string): ((line: string) => void) => {
  const file = new LogFile(join(parts.settings.layout.logs, `${name}.log`));
  return (line) => file.write(line);
};

const startPostgres = async (parts: FleetParts): Promise<string> => {
  const { config, layout } = parts.settings;
  if (config.databaseUrl !== undefined) return config.databaseUrl;
  const server = new PostgresServer({
    dataDir: layout.postgresData,
    socketDir: layout.postgresSocket,
    user: "bulkhead-postgres",
    peers: ["bulkhead-scheduler"],
    onLine: logOf(parts, "postgres"),
  });
  await parts.steps.run("Postgres", () => parts.supervisor.add({ name: "postgres", server }));
  return server.url();
};

const startNats = async (parts: FleetParts): Promise<string> => {
  const { config, layout } = parts.settings;
  const common = { serverName: "bulkhead", port: config.natsPort, trust: parts.keys.trust };
  if (config.natsUrl !== undefined) {
    // What the administrator of an external server includes there, so that it trusts our accounts.
    await writeFile(join(layout.nats, "external.conf"), natsTrustConfig(parts.keys.trust), { mode: 0o600 });
    return config.natsUrl;
  }
  const server = new NatsServer({
    ...common,
    directory: layout.nats,
    jetStream: true,
    user: "bulkhead-nats",
    onLine: logOf(parts, "nats"),
  });
  await parts.steps.run("nats-server", () => parts.supervisor.add({ name: "nats-server", server }));
  return server.url;
};

const startScheduler = async (parts: FleetParts, urls: { database: string; nats: string }): Promise<void> => {
  const { config, layout, apiUrl } = parts.settings;
  const server = new NodeService({
    name: "scheduler",
    main: "apps/scheduler/src/main.ts",
    checkout: layout.checkout,
    user: parts.users["bulkhead-scheduler"],
    environment: {
      BULKHEAD_REGISTRY_AUTH_FILE: layout.registryAuth,
      ...serviceEnvironment(parts),
      NODE_COMPILE_CACHE: join(layout.cache, "scheduler"),
      DATABASE_URL: urls.database,
      BULKHEAD_NATS_URL: urls.nats,
      BULKHEAD_NATS_JWT_FILE: parts.keys.scheduler.jwtFile,
      BULKHEAD_NATS_SEED_FILE: parts.keys.scheduler.seedFile,
      BULKHEAD_HOST_SIGNER_FILE: parts.keys.scheduler.hostSignerFile,
      BULKHEAD_ADMIN_TOKEN_FILE: layout.adminToken,
      BULKHEAD_BLOB_DIR: layout.blobs,
      BULKHEAD_API_PORT: String(config.apiPort),
      BULKHEAD_METRICS_URL: parts.settings.metricsUrl,
    },
    onLine: logOf(parts, "scheduler"),
    check: () => askReady(apiUrl),
  });
  await parts.steps.run("scheduler", () => parts.supervisor.add({ name: "scheduler", server }));
};

const startMetrics = async (parts: FleetParts, natsUrl: string): Promise<void> => {
  const { config, layout, metricsUrl } = parts.settings;
  const server = new NodeService({
    name: "metrics",
    main: "apps/metrics/src/main.ts",
    checkout: layout.checkout,
    user: parts.users["bulkhead-metrics"],
    environment: {
      ...serviceEnvironment(parts),
      NODE_COMPILE_CACHE: join(layout.cache, "metrics"),
      BULKHEAD_NATS_URL: natsUrl,
      BULKHEAD_NATS_JWT_FILE: parts.keys.metrics.jwtFile,
      BULKHEAD_NATS_SEED_FILE: parts.keys.metrics.seedFile,
      BULKHEAD_METRICS_PORT: String(config.metricsPort),
    },
    onLine: logOf(parts, "metrics"),
    check: () => askReady(metricsUrl),
  });
  await parts.steps.run("metrics", () => parts.supervisor.add({ name: "metrics", server }));
};

/** Message that packages/service writes when everything of a service is open. */
const startedMessage = "service started";

/** The agents of a host, by what isolates their instances. */
const agents = { container: "container-node", vm: "vm-node" } as const;

const startAgent = async (parts: FleetParts, client: Client, isolation: Isolation): Promise<void> => {
  const name = agents[isolation];
  const { config, layout, apiUrl } = parts.settings;
  const server = new NodeService({
    name,
    main: `apps/${name}/src/main.ts`,
    checkout: layout.checkout,
    environment: {
      ...serviceEnvironment(parts),
      NODE_COMPILE_CACHE: join(layout.cache, name),
      BULKHEAD_STATE_DIR: layout.state,
      BULKHEAD_RUN_DIR: layout.run,
      BULKHEAD_API_URL: apiUrl,
      BULKHEAD_JOIN_TOKEN_FILE: layout.adminToken,
      BULKHEAD_CONTRACT_MS: String(config.contractMs),
      BULKHEAD_MOUNT_ALLOW: [layout.shared, ...config.mountAllow].join(":"),
    },
    onLine: logOf(parts, name),
    check: async (said) => {
      if (!said.has(startedMessage)) throw new Error("the agent has not started");
      const hosts = await Array.fromAsync(client.hosts.list());
      const ready = hosts.some((host) =>
        host.agents.some((each) => each.isolation === isolation && each.state === "ready"),
      );
      if (!ready) throw fleetError("HOST_UNREACHABLE", "no host is ready");
    },
  });
  await parts.steps.run(name, () => parts.supervisor.add({ name, server }));
};

/** Credentials on the bus for every service of this fleet. */
export const makeKeys = (
  settings: UpSettings,
  users: Readonly<Record<ServiceUser, SystemUser>>,
): Promise<ControlKeys> =>
  createControlKeys(settings.layout.keys, {
    scheduler: users["bulkhead-scheduler"],
    metrics: users["bulkhead-metrics"],
  });

/** Starts everything in the order in which one needs the other. Rejects SETUP_FAILED with the failing one's last lines. */
export const startFleet = async (parts: FleetParts): Promise<Client> => {
  const database = await startPostgres(parts);
  const nats = await startNats(parts);
  await startScheduler(parts, { database, nats });
  await startMetrics(parts, nats);
  const client = createClient({ url: parts.settings.apiUrl, token: parts.adminToken });
  await startAgent(parts, client, "container");
  await startAgent(parts, client, "vm");
  return client;
};
