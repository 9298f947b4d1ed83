import { hostname } from "node:os";
import { Labels } from "@bulkhead/contracts";
import { setting } from "@bulkhead/service";
import { Type, type Static } from "typebox";

/** Everything an agent reads from its environment. */
export const AgentConfig = Type.Object({
  stateDir: setting("BULKHEAD_STATE_DIR", Type.String({ default: "/var/lib/bulkhead", pattern: "^/" })),
  /** per boot; a tmpfs where the machine has one */
  runDir: setting("BULKHEAD_RUN_DIR", Type.String({ default: "/run/bulkhead", pattern: "^/" })),
  apiUrl: setting("BULKHEAD_API_URL", Type.String({ default: "http://127.0.0.1:7480", pattern: "^https?://" })),
  /** the bus as this host reaches it, when it is not where the scheduler says */
  natsUrl: setting("BULKHEAD_NATS_URL", Type.Optional(Type.String({ minLength: 1 }))),
  /** file with a join or admin token; needed once, and to join a new control plane */
  joinTokenFile: setting("BULKHEAD_JOIN_TOKEN_FILE", Type.Optional(Type.String({ pattern: "^/" }))),
  /** host directories below which instances may have mounts; nothing else can add to them */
  mountAllow: setting("BULKHEAD_MOUNT_ALLOW", Type.Array(Type.String(), { default: [] }), { separator: ":" }),
  /** instances may ask for the host's own network; nothing else can allow it */
  hostNetwork: setting("BULKHEAD_HOST_NETWORK", Type.Boolean({ default: false })),
  /** names outside an instance's network are asked of the host's own resolvers */
  dnsForward: setting("BULKHEAD_DNS_FORWARD", Type.Boolean({ default: true })),
  /** where kernels of virtual machines lie; default: below the state directory */
  kernelDir: setting("BULKHEAD_KERNEL_DIR", Type.Optional(Type.String({ pattern: "^/" }))),
  /** containers' first processes that wait ready for the next starts; each costs some hundred KiB, most of it the kernel's */
  readyProcesses: setting("BULKHEAD_READY_PROCESSES", Type.Integer({ default: 0, minimum: 0, maximum: 64 })),
  /**
   * cgroup, in every hierarchy, below which instances and their shims live instead of below the agent's own: from the
   * mount points (`/bulkhead`), or beside the agent's (`../instances`)
   */
  cgroupParent: setting(
    "BULKHEAD_CGROUP_PARENT",
    Type.Optional(Type.String({ pattern: "^(/|\\.\\./)[A-Za-z0-9_][\\w.:@-]*(/[A-Za-z0-9_][\\w.:@-]*)*$" })),
  ),
  hostName: setting("BULKHEAD_HOST_NAME", Type.String({ default: hostname(), minLength: 1, maxLength: 255 })),
  hostLabels: setting("BULKHEAD_HOST_LABELS", Type.Optional(Labels)),
  /** an image that no instance has used for this long is removed */
  imageKeepMs: setting("BULKHEAD_IMAGE_KEEP_MS", Type.Integer({ default: 86_400_000, minimum: 60_000 })),
  /** how often every instance's limits, CPUs and namespaces are read back from the kernel */
  contractMs: setting("BULKHEAD_CONTRACT_MS", Type.Integer({ default: 30_000, minimum: 500, maximum: 3_600_000 })),
  otlpEndpoint: setting("OTEL_EXPORTER_OTLP_ENDPOINT", Type.Optional(Type.String({ minLength: 1 }))),
});
export type AgentConfig = Static<typeof AgentConfig>;
