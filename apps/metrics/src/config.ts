import { setting } from "@bulkhead/service";
import { Type, type Static } from "typebox";

/** Everything the metrics service reads from its environment. */
export const MetricsConfig = Type.Object({
  natsUrl: setting("BULKHEAD_NATS_URL", Type.String({ default: "nats://127.0.0.1:4222" })),
  /** the service's own credential; without it the server must take anyone */
  natsJwtFile: setting("BULKHEAD_NATS_JWT_FILE", Type.String({ default: "" })),
  natsSeedFile: setting("BULKHEAD_NATS_SEED_FILE", Type.String({ default: "" })),
  host: setting("BULKHEAD_METRICS_HOST", Type.String({ default: "127.0.0.1" })),
  port: setting("BULKHEAD_METRICS_PORT", Type.Integer({ default: 7481, minimum: 0, maximum: 65_535 })),
  /** file with the bearer token that /metrics and /v1 ask for; anyone who reaches the port may read without it */
  tokenFile: setting("BULKHEAD_METRICS_TOKEN_FILE", Type.String({ default: "" })),
  /** the agents' pace */
  usageIntervalMs: setting(
    "BULKHEAD_USAGE_INTERVAL_MS",
    Type.Integer({ default: 5_000, minimum: 100, maximum: 60_000 }),
  ),
  instancesMax: setting(
    "BULKHEAD_METRICS_INSTANCES_MAX",
    Type.Integer({ default: 20_000, minimum: 1, maximum: 1_000_000 }),
  ),
  hostsMax: setting("BULKHEAD_METRICS_HOSTS_MAX", Type.Integer({ default: 20_000, minimum: 1, maximum: 1_000_000 })),
  otlpEndpoint: setting("OTEL_EXPORTER_OTLP_ENDPOINT", Type.String({ default: "" })),
});
export type MetricsConfig = Static<typeof MetricsConfig>;
