import { readFile } from "node:fs/promises";
import { connectBus, readCredential } from "@bulkhead/bus";
import { fleetError, subjects } from "@bulkhead/contracts";
import { runService } from "@bulkhead/service";
import { startTelemetry } from "@bulkhead/telemetry";
import { buildApp } from "./app.ts";
import { MetricsConfig } from "./config.ts";
import { usageFamilies } from "./usage-families.ts";
import { UsageStore } from "./usage-store.ts";

/** Between two looks for what has been silent for ten minutes, in milliseconds. */
const expireMs = 30_000;

const readToken = async (file: string): Promise<string | undefined> => {
  if (file === "") return undefined;
  const token = (await readFile(file, "utf8")).trim();
  if (token.length < 16) throw fleetError("CONFIG_INVALID", `${file} must hold a token of at least 16 characters.`);
  return token;
};

await runService({ name: "metrics", config: MetricsConfig }, async (scope, config) => {
  const { log, readiness } = scope;
  const nowMs = Date.now;
  const { usageIntervalMs: intervalMs, instancesMax, hostsMax } = config;
  const store = new UsageStore({ intervalMs, instancesMax, hostsMax, nowMs });
  const telemetry = scope.use(
    "telemetry",
    await startTelemetry({
      service: "metrics",
      otlpEndpoint: config.otlpEndpoint,
      sources: [{ collect: () => usageFamilies(store, nowMs()) }],
      log,
    }),
  );
  const { natsUrl, natsJwtFile: jwtFile, natsSeedFile: seedFile } = config;
  const credential = jwtFile === "" ? {} : await readCredential({ jwtFile, seedFile });
  const bus = scope.use(
    "bus",
    await connectBus({ url: natsUrl, name: "metrics", ...credential, log, signal: scope.signal }),
  );
  readiness.add("bus", () => bus.ping());
  bus.subscribe(subjects.usage, { hostId: "*", isolation: "*" }, (batch) => store.add(batch));

  let refused = 0;
  const expire = setInterval(() => {
    store.expire();
    if (store.refused > refused) log.warn({ samples: store.refused - refused }, "usage samples refused");
    refused = store.refused;
  }, expireMs);
  scope.defer("expiry", () => clearInterval(expire));

  const token = await readToken(config.tokenFile);
  const { meters } = telemetry;
  const collect = telemetry.collect.bind(telemetry);
  const app = buildApp({ store, collect, meters, readiness, log, nowMs, token });
  scope.defer("http", () => app.close());
  const url = await app.listen({ host: config.host, port: config.port });
  log.info({ url }, "metrics listening");
});
