import type { FastifyInstance } from "fastify";
import type { FleetSize } from "../admission/fleet-size.ts";
import type { TokenCache } from "../auth/token-cache.ts";
import type { EventFeed } from "../events/event-feed.ts";
import type { ApiSettings, SchedulerPorts } from "../ports.ts";
import type { StreamBroker } from "../streams/stream-broker.ts";

/** What routes share: the ports, and what the app keeps between requests. */
export interface RouteContext extends SchedulerPorts {
  readonly settings: ApiSettings;
  readonly feed: EventFeed;
  readonly broker: StreamBroker;
  readonly tokens: TokenCache;
  readonly fleetSize: FleetSize;
}

/** Adds one noun's routes. */
export type AddRoutes = (app: FastifyInstance, context: RouteContext) => void;

/** Aborted when the client goes away before its answer. */
export const clientGone = (raw: NodeJS.EventEmitter): AbortSignal => {
  const abort = new AbortController();
  raw.once("close", () => abort.abort());
  return abort.signal;
};
