import { rename } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { connectBus, hostInboxPrefix } from "@bulkhead/bus";
import {
  acquireHostLock,
  hostPaths,
  MountAllowList,
  openRunDirectory,
  openStateDirectory,
  readOrCreateHostId,
} from "@bulkhead/host";
import { LayerStore } from "@bulkhead/images";
import { ContainerRuntime } from "@bulkhead/namespaces";
import { loadConfig, runService } from "@bulkhead/service";
import { startTelemetry } from "@bulkhead/telemetry";
import { buildAgent } from "./app.ts";
import { NodeConfig } from "./config.ts";
import { busControlPlane } from "./control-plane.ts";
import { readStoredCredential } from "./credential.ts";
import { ImageSupply } from "./images.ts";
import { joinedCredential } from "./join.ts";

const isolation = "container";

await runService("container-node", async (scope) => {
  const config = loadConfig(NodeConfig);
  const { log, signal } = scope;
  const paths = hostPaths(config.stateDir, config.runDir, await readOrCreateHostId(config.stateDir, Date.now()));
  const hostName = config.hostName === "" ? hostname() : config.hostName;
  await openStateDirectory(paths);
  await openRunDirectory(paths);
  scope.use("host lock", await acquireHostLock(paths.lock, isolation));
  const telemetry = scope.use(
    "telemetry",
    await startTelemetry({
      service: "container-node",
      otlpEndpoint: config.otlpEndpoint,
      attributes: { "host.id": paths.hostId },
      log,
    }),
  );

  let credential = await readStoredCredential(join(paths.state, `credential.${isolation}.json`));
  const known = credential?.clusterId;
  const images = scope.use(
    "images",
    new ImageSupply({
      store: await LayerStore.open({ root: paths.images }),
      apiUrl: config.apiUrl,
      token: () => credential?.httpToken ?? "",
      inUse: async () => new Set((await runtime.list()).map(({ assignment }) => assignment.imageDigest)),
      keepMs: config.imageKeepMs,
      log,
    }),
  );
  const runtime = await ContainerRuntime.open({
    paths,
    images,
    mountAllowList: new MountAllowList(config.mountAllow),
    log,
  });
  scope.use("runtime", runtime);

  credential = await joinedCredential({
    apiUrl: config.apiUrl,
    tokenFile: config.joinTokenFile,
    credentialFile: join(paths.state, `credential.${isolation}.json`),
    host: { hostId: paths.hostId, name: hostName, isolation, labels: config.hostLabels, facts: await runtime.facts() },
    log,
    signal,
  });
  if (known !== undefined && known !== credential.clusterId) {
    // Joining another control plane is its administrator's decision. What the old one wanted is kept aside; what runs
    // is unknown to the new one, so it is kept and listed there.
    const desired = join(paths.state, `desired.${isolation}.json`);
    await rename(desired, `${desired}.${known}`).catch((error: unknown) =>
      log.info({ err: error }, "no document of the old control plane"),
    );
    log.warn({ from: known, to: credential.clusterId }, "host obeys another control plane now");
  }
  const host = { hostId: paths.hostId, isolation } as const;
  const bus = scope.use(
    "bus",
    await connectBus({
      url: config.natsUrl === "" ? credential.natsUrl : config.natsUrl,
      name: `host-${paths.hostId}-${isolation}`,
      jwt: credential.natsJwt,
      seed: credential.seed,
      inboxPrefix: hostInboxPrefix(paths.hostId, isolation),
      log,
      signal,
    }),
  );
  scope.readiness.add("bus", () => bus.ping());
  const agent = await buildAgent({
    paths,
    hostName,
    clusterId: credential.clusterId,
    runtime,
    controlPlane: busControlPlane(bus, host),
    meters: telemetry.meters,
    log,
  });
  scope.defer("agent", () => agent.stop());
});
