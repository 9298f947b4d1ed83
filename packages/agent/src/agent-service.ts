import { rename } from "node:fs/promises";
import { join } from "node:path";
import { getuid } from "node:process";
import { connectBus, hostInboxPrefix, makeUserKey } from "@bulkhead/bus";
import { fleetError, type ClusterId, type Isolation } from "@bulkhead/contracts";
import { acquireHostLock, hostPaths, openStateDirectory, readOrCreateHostId, type HostPaths } from "@bulkhead/host";
import { LayerStore } from "@bulkhead/images";
import type { Log } from "@bulkhead/node";
import { runService, type Scope } from "@bulkhead/service";
import { startTelemetry } from "@bulkhead/telemetry";
import { AgentConfig } from "./agent-config.ts";
import { BusControlPlane } from "./bus-control-plane.ts";
import { FleetImages } from "./fleet-images.ts";
import { connectEventually } from "./late-bus.ts";
import { Membership } from "./membership.ts";
import { startAgent, type AgentRuntime } from "./start-agent.ts";

/** What a runtime is made from. */
export interface RuntimeParts {
  readonly config: AgentConfig;
  readonly paths: HostPaths;
  /** the fleet's images, on this host */
  readonly images: Pick<FleetImages, "ensure">;
  readonly scope: Scope;
}

/** An agent is the same for every isolation but for its runtime. */
export interface AgentKind {
  readonly name: string;
  readonly isolation: Isolation;
  /** what it needs root for, as the end of "… must be started by root" */
  readonly powers: string;
  /** Opens the runtime; the service closes it. */
  readonly openRuntime: (parts: RuntimeParts) => Promise<AgentRuntime>;
}

/** How long the start waits for the bus before it goes on without, in milliseconds. */
const busPatienceMs = 5_000;

/**
 * A host that joined another control plane obeys it from now on. What the old one wanted is kept beside; what runs is
 * unknown to the new one, so it is kept and listed there.
 */
const setDocumentAside = async (paths: HostPaths, left: ClusterId, log: Log): Promise<void> => {
  const document = join(paths.state, `desired.${paths.isolation}.json`);
  await rename(document, `${document}.${left}`).catch((error: unknown) => {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  });
  log.warn({ left }, "host obeys another control plane now; its running instances are kept");
};

/** Runs an agent until it is told to stop; what it started runs on. */
export const runAgent = (kind: AgentKind): Promise<void> =>
  runService({ name: kind.name, config: AgentConfig }, (scope, config) => openAgent(kind, scope, config));

const openAgent = async (
  { name, isolation, powers, openRuntime }: AgentKind,
  scope: Scope,
  config: AgentConfig,
): Promise<void> => {
  const { log, signal } = scope;
  if (getuid?.() !== 0) {
    throw fleetError("SETUP_FAILED", `${name} ${powers} and must be started by root.`);
  }
  const hostId = await readOrCreateHostId(config.stateDir, Date.now());
  const paths = hostPaths(config.stateDir, config.runDir, hostId, isolation);
  scope.use("host lock", await acquireHostLock(paths.lock, isolation));
  await openStateDirectory(paths);
  const telemetry = scope.use(
    "telemetry",
    await startTelemetry({
      service: name,
      otlpEndpoint: config.otlpEndpoint,
      attributes: { "host.id": hostId, "host.name": config.hostName },
      log,
    }),
  );

  const joined = Promise.withResolvers<Membership>();
  const layers = await LayerStore.open({ root: paths.images });
  const images = new FleetImages({
    layers,
    apiUrl: config.apiUrl,
    membership: joined.promise,
    keepMs: config.imageKeepMs,
    log,
  });
  const runtime = scope.use("runtime", await openRuntime({ config, paths, images, scope }));

  const membership = await Membership.open({
    directory: paths.state,
    isolation,
    apiUrl: config.apiUrl,
    ...(config.joinTokenFile === undefined ? {} : { joinTokenFile: config.joinTokenFile }),
    describe: async () => ({
      hostId,
      name: config.hostName,
      isolation,
      ...(config.hostLabels === undefined ? {} : { labels: config.hostLabels }),
      facts: await runtime.facts(),
    }),
    makeKey: makeUserKey,
    log,
    signal,
  });
  joined.resolve(membership);
  if (membership.left !== null) await setDocumentAside(paths, membership.left, log);

  const controlPlane = new BusControlPlane({ hostId, isolation, log });
  await connectEventually({
    connect: () => {
      const { natsUrl, natsJwt } = membership.credential;
      return connectBus({
        url: config.natsUrl ?? natsUrl,
        name: `${isolation}-node ${config.hostName}`,
        jwt: natsJwt,
        seed: membership.seed,
        inboxPrefix: hostInboxPrefix(hostId, isolation),
        log,
        signal,
      });
    },
    connected: (bus) => {
      controlPlane.connected(scope.use("bus", bus));
      scope.readiness.add("bus", () => bus.ping());
    },
    failed: () => membership.renew("no connection to the bus"),
    patienceMs: busPatienceMs,
    log,
    signal,
  });

  const agent = await startAgent({
    paths,
    hostName: config.hostName,
    clusterId: membership.credential.clusterId,
    runtime,
    controlPlane,
    images,
    membership,
    meters: telemetry.meters,
    contractMs: config.contractMs,
    log,
  });
  scope.use("agent", agent);
  log.info({ hostId, apiUrl: config.apiUrl, living: agent.agent.living }, `host serves ${isolation} instances`);
};
