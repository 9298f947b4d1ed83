import { rename } from "node:fs/promises";
import { join } from "node:path";
import { getuid } from "node:process";
import { connectBus, hostInboxPrefix, makeUserKey } from "@bulkhead/bus";
import { fleetError, type ClusterId } from "@bulkhead/contracts";
import {
  acquireHostLock,
  hostPaths,
  hostResolvers,
  MountAllowList,
  NameResponder,
  openStateDirectory,
  readOrCreateHostId,
  type HostPaths,
} from "@bulkhead/host";
import { LayerStore } from "@bulkhead/images";
import { ContainerRuntime } from "@bulkhead/namespaces";
import type { Log } from "@bulkhead/node";
import { loadConfig, runService } from "@bulkhead/service";
import { startTelemetry } from "@bulkhead/telemetry";
import { startContainerNode } from "./app.ts";
import { BusControlPlane } from "./bus-control-plane.ts";
import { ContainerNodeConfig } from "./config.ts";
import { FleetImages } from "./fleet-images.ts";
import { connectEventually } from "./late-bus.ts";
import { Membership } from "./membership.ts";

const isolation = "container";
/** How long the start waits for the bus before it goes on without, in milliseconds. */
const busPatienceMs = 5_000;

/**
 * A host that joined another control plane obeys it from now on. What the old one wanted is kept beside; what runs is
 * unknown to the new one, so it is kept and listed there.
 */
const setDocumentAside = async (paths: HostPaths, left: ClusterId, log: Log): Promise<void> => {
  const document = join(paths.state, `desired.${isolation}.json`);
  await rename(document, `${document}.${left}`).catch((error: unknown) => {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  });
  log.warn({ left }, "host obeys another control plane now; its running instances are kept");
};

await runService("container-node", async (scope) => {
  const config = loadConfig(ContainerNodeConfig);
  const { log, signal } = scope;
  if (getuid?.() !== 0) {
    throw fleetError("SETUP_FAILED", "container-node makes namespaces and cgroups and must be started by root.");
  }
  const hostId = await readOrCreateHostId(config.stateDir, Date.now());
  const paths = hostPaths(config.stateDir, config.runDir, hostId);
  scope.use("host lock", await acquireHostLock(paths.lock, isolation));
  await openStateDirectory(paths);
  const telemetry = scope.use(
    "telemetry",
    await startTelemetry({
      service: "container-node",
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
  const mountAllowList = new MountAllowList(config.mountAllow);
  const runtime = scope.use(
    "runtime",
    await ContainerRuntime.open({ paths, images, mountAllowList, hostNetwork: config.hostNetwork, log }),
  );
  const { networks } = runtime;
  const forward = config.dnsForward ? hostResolvers() : null;
  scope.use("names", new NameResponder({ networks, forward, log }));

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

  const node = await startContainerNode({
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
  scope.use("agent", node);
  log.info({ hostId, apiUrl: config.apiUrl, living: node.agent.living }, "host serves containers");
});
