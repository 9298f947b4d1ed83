import { FastifyOtelInstrumentation } from "@fastify/otel";
import underPressure from "@fastify/under-pressure";
import { fleetError } from "@bulkhead/contracts";
import { addProblemHandlers, addRequestTimer, fastifyDefaults } from "@bulkhead/service/http";
import Fastify, { type FastifyInstance } from "fastify";
import { FleetSize } from "./admission/fleet-size.ts";
import { addAccess } from "./auth/access.ts";
import { TokenCache } from "./auth/token-cache.ts";
import { EventFeed } from "./events/event-feed.ts";
import { addBodies } from "./http/bodies.ts";
import { addOpenApi } from "./http/openapi.ts";
import { addRequestContext } from "./http/request-context.ts";
import { addTextRefusal } from "./http/storable-text.ts";
import { addUpgrades } from "./http/upgrade.ts";
import { validatorCompiler } from "./http/validation.ts";
import type { ApiSettings, SchedulerPorts } from "./ports.ts";
import { addEventRoutes } from "./routes/events.ts";
import { addHostRoutes } from "./routes/hosts.ts";
import { addImageRoutes } from "./routes/images.ts";
import { addInformationRoutes } from "./routes/information.ts";
import { addExecRoute } from "./routes/instance-exec.ts";
import { addKillRoute } from "./routes/instance-kill.ts";
import { addLogRoute } from "./routes/instance-logs.ts";
import { addInstanceShareRoutes } from "./routes/instance-shares.ts";
import { addShareRoutes } from "./routes/shares.ts";
import { addViewRoute } from "./routes/instance-view.ts";
import { addInstanceRoutes } from "./routes/instances.ts";
import { addInternalRoutes } from "./routes/internal.ts";
import { addNetworkRoutes } from "./routes/networks.ts";
import { addOperationRoutes } from "./routes/operations.ts";
import { addKernelRoutes } from "./routes/kernels.ts";
import { addRegistryRoutes } from "./routes/registry.ts";
import type { AddRoutes, RouteContext } from "./routes/route-context.ts";
import { addSnapshotRoutes } from "./routes/snapshots.ts";
import { addTokenRoutes } from "./routes/tokens.ts";
import { addUnknownInstanceRoutes } from "./routes/unknown-instances.ts";
import { addWorkloadRoutes } from "./routes/workloads.ts";
import { StreamBroker } from "./streams/stream-broker.ts";

/** An upload of the largest image over a slow line takes this long, in ms; JSON bodies have their own, short limit. */
const uploadMs = 60 * 60 * 1000;

/** At shutdown, requests under way may take this much longer, in milliseconds. */
const drainMs = 2_000;

const routes: readonly AddRoutes[] = [
  addInformationRoutes,
  addWorkloadRoutes,
  addInstanceRoutes,
  addKillRoute,
  addLogRoute,
  addExecRoute,
  addViewRoute,
  addShareRoutes,
  addInstanceShareRoutes,
  addSnapshotRoutes,
  addHostRoutes,
  addUnknownInstanceRoutes,
  addImageRoutes,
  addKernelRoutes,
  addNetworkRoutes,
  addOperationRoutes,
  addEventRoutes,
  addTokenRoutes,
  addRegistryRoutes,
  addInternalRoutes,
];

/** The HTTP service, built but not listening. */
export interface SchedulerApp {
  readonly app: FastifyInstance;
  /** to be woken when events were folded in this process */
  readonly feed: EventFeed;
  readonly broker: StreamBroker;
}

const addPressureLimit = async (app: FastifyInstance, { loopDelayMaxMs }: ApiSettings): Promise<void> => {
  await app.register(underPressure, {
    maxEventLoopDelay: loopDelayMaxMs,
    pressureHandler: (request) => {
      // Probes ask whether the process lives; that it is busy is no reason to kill it.
      if (request.routeOptions.config.access === "public") return;
      throw fleetError("OVERLOADED", "The service is overloaded; try again shortly.", {
        fields: { retryAfterMs: 1_000 },
      });
    },
  });
};

/** Builds the API over its ports. */
export const buildApp = async (ports: SchedulerPorts, settings: ApiSettings): Promise<SchedulerApp> => {
  const app = Fastify({ ...fastifyDefaults(ports.log), requestTimeout: uploadMs });
  const tokens = new TokenCache((hash) => ports.inventory.read.token(hash), ports.nowMs);
  const feed = new EventFeed(ports.inventory.read, ports.log);
  const broker = new StreamBroker({ url: settings.streamsUrl, maximum: settings.streamsMax });
  const fleetSize = new FleetSize((isolation) => ports.inventory.read.largestCapacity(isolation), ports.nowMs);
  const context: RouteContext = { ...ports, settings, tokens, feed, broker, fleetSize };

  // Hooks as spans of their own would cost more than they tell.
  const telemetry = new FastifyOtelInstrumentation({
    registerOnInitialization: false,
    instrumentHooks: false,
    instrumentHandler: false,
  });
  await app.register(telemetry.plugin());
  app.setValidatorCompiler(validatorCompiler);
  // Answers are made by our own code and checked against their schemas in tests; plain JSON is fast enough.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  addProblemHandlers(app);
  addRequestTimer(app, ports.recordRequest);
  addBodies(app);
  addTextRefusal(app);
  addRequestContext(app);
  await addPressureLimit(app, settings);
  addAccess(app, {
    tokens,
    burst: settings.requestsBurst,
    perSecond: settings.requestsPerSecond,
    nowMs: ports.nowMs,
  });
  await addOpenApi(app, settings.version);
  for (const add of routes) add(app, context);
  addUpgrades(app);
  app.addHook("preClose", async () => {
    broker.close();
    feed.close();
    // A client that has only connected counts as busy to Node, and would keep the service for a minute.
    const cut = setTimeout(() => app.server.closeAllConnections(), drainMs);
    app.server.once("close", () => clearTimeout(cut));
  });
  return { app, feed, broker };
};
