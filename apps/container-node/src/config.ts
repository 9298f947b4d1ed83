import { setting } from "@bulkhead/service";
import { type Static, Type } from "typebox";

const labelText = Type.String({ maxLength: 255 });

/** Everything the container agent reads from its environment. */
export const NodeConfig = Type.Object({
  stateDir: setting("BULKHEAD_STATE_DIR", Type.String({ default: "/var/lib/bulkhead", pattern: "^/" })),
  runDir: setting("BULKHEAD_RUN_DIR", Type.String({ default: "/run/bulkhead", pattern: "^/" })),
  apiUrl: setting("BULKHEAD_API_URL", Type.String({ default: "http://127.0.0.1:7480", pattern: "^https?://" })),
  /** where the bus is for this host; what the control plane said at join when empty */
  natsUrl: setting("BULKHEAD_NATS_URL", Type.String({ default: "" })),
  /** holds the token that lets this machine become a host; not needed once it is one */
  joinTokenFile: setting("BULKHEAD_JOIN_TOKEN_FILE", Type.String({ default: "" })),
  /** host directories below which instances may have mounts; nothing on the bus can change it */
  mountAllow: setting("BULKHEAD_MOUNT_ALLOW", Type.Array(Type.String({ pattern: "^/" }), { default: [] }), {
    separator: ":",
  }),
  hostName: setting("BULKHEAD_HOST_NAME", Type.String({ default: "", maxLength: 255 })),
  hostLabels: setting("BULKHEAD_HOST_LABELS", Type.Record(Type.String(), labelText, { default: {} })),
  /** an image that nothing has used for this long may be removed */
  imageKeepMs: setting("BULKHEAD_IMAGE_KEEP_MS", Type.Integer({ default: 86_400_000, minimum: 60_000 })),
  otlpEndpoint: setting("OTEL_EXPORTER_OTLP_ENDPOINT", Type.String({ default: "" })),
});
export type NodeConfig = Static<typeof NodeConfig>;
