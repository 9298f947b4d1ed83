import { setting } from "@bulkhead/service";
import { type Static, Type } from "typebox";

/** Everything the scheduler reads from its environment. */
export const SchedulerConfig = Type.Object({
  databaseUrl: setting("DATABASE_URL", Type.String({ minLength: 1 }), { secret: true }),
  databaseConnections: setting(
    "BULKHEAD_DATABASE_CONNECTIONS",
    Type.Integer({ default: 10, minimum: 2, maximum: 200 }),
  ),
  natsUrl: setting("BULKHEAD_NATS_URL", Type.String({ default: "nats://127.0.0.1:4222" })),
  /** address of the bus as hosts reach it; the scheduler's own when empty */
  natsAdvertiseUrl: setting("BULKHEAD_NATS_ADVERTISE_URL", Type.String({ default: "" })),
  /** the scheduler's own credential; without it the server must take anyone */
  natsJwtFile: setting("BULKHEAD_NATS_JWT_FILE", Type.String({ default: "" })),
  natsSeedFile: setting("BULKHEAD_NATS_SEED_FILE", Type.String({ default: "" })),
  /** the key that makes credentials of hosts */
  hostSignerFile: setting("BULKHEAD_HOST_SIGNER_FILE", Type.String({ minLength: 1 })),
  adminTokenFile: setting("BULKHEAD_ADMIN_TOKEN_FILE", Type.String({ default: "" })),
  blobDir: setting("BULKHEAD_BLOB_DIR", Type.String({ minLength: 1 })),
  /** mirrors, certificates and permissions of registries (JSON); without it each is asked directly, with TLS */
  registrySettingsFile: setting("BULKHEAD_REGISTRY_SETTINGS_FILE", Type.String({ default: "" })),
  /** credentials of registries in the format of Docker's config.json, mode 0600; may be missing */
  registryAuthFile: setting("BULKHEAD_REGISTRY_AUTH_FILE", Type.String({ default: "" })),
  /** rules for which images may enter (JSON); when it is set and cannot be read, none may */
  imagePolicyFile: setting("BULKHEAD_IMAGE_POLICY_FILE", Type.String({ default: "" })),
  imagePullMs: setting("BULKHEAD_IMAGE_PULL_MS", Type.Integer({ default: 3_600_000, minimum: 1_000 })),
  /** where the metrics service answers, for those who ask the API */
  metricsUrl: setting("BULKHEAD_METRICS_URL", Type.String({ default: "" })),
  /** OTLP/HTTP base URL; nothing is sent when empty */
  otlpEndpoint: setting("OTEL_EXPORTER_OTLP_ENDPOINT", Type.String({ default: "" })),
  host: setting("BULKHEAD_API_HOST", Type.String({ default: "127.0.0.1" })),
  port: setting("BULKHEAD_API_PORT", Type.Integer({ default: 7480, minimum: 0, maximum: 65_535 })),
  /** `http://` address of this scheduler as hosts reach it; from host and port when empty */
  advertiseUrl: setting("BULKHEAD_API_ADVERTISE_URL", Type.String({ default: "" })),
  imageMaxBytes: setting(
    "BULKHEAD_IMAGE_MAX_BYTES",
    Type.Integer({ default: 32 * 2 ** 30, minimum: 1024, maximum: 2 ** 46 }),
  ),
  streamsMax: setting("BULKHEAD_STREAMS_MAX", Type.Integer({ default: 256, minimum: 1, maximum: 10_000 })),
  requestsPerSecond: setting(
    "BULKHEAD_REQUESTS_PER_SECOND",
    Type.Integer({ default: 2_000, minimum: 1, maximum: 1_000_000 }),
  ),
  requestsBurst: setting("BULKHEAD_REQUESTS_BURST", Type.Integer({ default: 4_000, minimum: 1, maximum: 1_000_000 })),
  loopDelayMaxMs: setting("BULKHEAD_LOOP_DELAY_MAX_MS", Type.Integer({ default: 1_000, minimum: 10, maximum: 60_000 })),
});
export type SchedulerConfig = Static<typeof SchedulerConfig>;
