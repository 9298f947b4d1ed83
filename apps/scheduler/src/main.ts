import { readFile } from "node:fs/promises";
import type { HostId } from "@bulkhead/contracts";
import { fleetError } from "@bulkhead/contracts";
import { connectBus, mintHostUser, readCredential, readSigner } from "@bulkhead/bus";
import { migrate, openInventory, statement } from "@bulkhead/inventory";
import { runService } from "@bulkhead/service";
import { prometheusContentType, renderPrometheus, startTelemetry } from "@bulkhead/telemetry";
import { busCommands } from "./agent-commands.ts";
import { buildApp } from "./app.ts";
import { hashToken } from "./auth/token-cache.ts";
import { BlobSweeper } from "./blob-sweeper.ts";
import { SchedulerConfig } from "./config.ts";
import { ControlLoop } from "./control/index.ts";
import { openImageStore } from "./images/image-store.ts";
import { PullRunner } from "./images/pull-runner.ts";
import { version } from "./version.ts";

const probe = statement("main_probe", "SELECT 1");

/** The token that `up` wrote, or undefined when none is configured. Rejects CONFIG_INVALID for an empty file. */
const readAdminToken = async (file: string): Promise<string | undefined> => {
  if (file === "") return undefined;
  const token = (await readFile(file, "utf8")).trim();
  if (token.length < 32) {
    throw fleetError("CONFIG_INVALID", `${file} must hold a token of at least 32 characters.`);
  }
  return token;
};

await runService({ name: "scheduler", config: SchedulerConfig }, async (scope, config) => {
  const { log, readiness } = scope;
  const nowMs = () => performance.now();

  const telemetry = scope.use(
    "telemetry",
    await startTelemetry({ service: "scheduler", otlpEndpoint: config.otlpEndpoint, log }),
  );
  const { meters } = telemetry;

  await migrate(config.databaseUrl);
  const { databaseUrl, databaseConnections: poolMax } = config;
  const inventory = scope.use("inventory", openInventory({ databaseUrl, poolMax, log }));
  readiness.add("database", async () => {
    await inventory.database.rows(probe);
  });
  const adminToken = await readAdminToken(config.adminTokenFile);
  if (adminToken !== undefined) await inventory.api.write((tx) => tx.upsertAdminToken(hashToken(adminToken)));

  const credential =
    config.natsJwtFile === ""
      ? {}
      : await readCredential({ jwtFile: config.natsJwtFile, seedFile: config.natsSeedFile });
  const bus = scope.use(
    "bus",
    await connectBus({ url: config.natsUrl, name: "scheduler", ...credential, log, signal: scope.signal }),
  );
  readiness.add("bus", () => bus.ping());
  const signer = await readSigner(config.hostSignerFile);
  const images = await openImageStore({
    root: config.blobDir,
    maxBytes: config.imageMaxBytes,
    pullMs: config.imagePullMs,
    ...(config.registrySettingsFile === "" ? {} : { settingsFile: config.registrySettingsFile }),
    ...(config.registryAuthFile === "" ? {} : { credentialsFile: config.registryAuthFile }),
    ...(config.imagePolicyFile === "" ? {} : { policyFile: config.imagePolicyFile }),
  });

  let onEvents = (): void => undefined;
  const control = new ControlLoop({
    store: inventory.control,
    bus,
    log,
    nowMs,
    meters: {
      placementDuration: (seconds, outcome) => meters.placementDuration.record(seconds, { outcome }),
      placements: (count, outcome) => meters.placements.add(count, { outcome }),
      reportsFolded: (count) => meters.reportsFolded.add(count, {}),
      outboxPending: (rows) => meters.outboxPending.set(rows, {}),
    },
    onEvents: () => onEvents(),
  });
  const pulls = new PullRunner({ images, inventory: inventory.api, log, onWritten: () => control.wake() });
  const advertiseUrl =
    config.advertiseUrl === "" ? `http://${config.host}:${config.port}` : config.advertiseUrl.replace(/\/$/, "");
  const { app, feed } = await buildApp(
    {
      inventory: inventory.api,
      commands: busCommands(bus),
      images,
      control,
      pulls,
      credentials: {
        natsUrl: config.natsAdvertiseUrl === "" ? config.natsUrl : config.natsAdvertiseUrl,
        mint: async ({ hostId, ...agent }) => mintHostUser({ signer, hostId: hostId as HostId, ...agent }),
      },
      readiness,
      log,
      nowMs,
      ownMetrics: () => ({ contentType: prometheusContentType, text: renderPrometheus(telemetry.collect()) }),
      recordRequest: (seconds, labels) => {
        meters.httpRequestDuration.record(seconds, labels as Parameters<typeof meters.httpRequestDuration.record>[1]);
      },
    },
    {
      version,
      streamsUrl: advertiseUrl.replace(/^http/, "ws"),
      metricsUrl: config.metricsUrl === "" ? null : config.metricsUrl,
      imageMaxBytes: config.imageMaxBytes,
      streamsMax: config.streamsMax,
      requestsPerSecond: config.requestsPerSecond,
      requestsBurst: config.requestsBurst,
      loopDelayMaxMs: config.loopDelayMaxMs,
    },
  );
  onEvents = () => feed.wake();
  scope.use("blob sweeper", new BlobSweeper({ images, inventory: inventory.api, log }));
  scope.use("image pulls", pulls);
  // Closed before the control loop stops: no request may arrive that it would have to carry out.
  control.start();
  scope.defer("control loop", () => control.stop());
  await app.listen({ host: config.host, port: config.port, listenTextResolver: () => "accepting connections" });
  scope.defer("http", () => app.close());
  log.info({ url: advertiseUrl }, "API listening");
});
