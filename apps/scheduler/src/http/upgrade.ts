import { type IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { fleetError, maximumFrameBytes } from "@bulkhead/contracts";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type WebSocket, WebSocketServer } from "ws";

interface Upgrade {
  readonly socket: Duplex;
  readonly head: Buffer;
}

const upgrades = new WeakMap<IncomingMessage, Upgrade>();

/** Sub-protocol of exec streams; a browser names it beside its token, since it cannot set headers. */
const streamProtocol = "bulkhead.stream.v1";

const server = new WebSocketServer({
  noServer: true,
  perMessageDeflate: false,
  maxPayload: maximumFrameBytes + 1,
  handleProtocols: (offered) => (offered.has(streamProtocol) ? streamProtocol : false),
});

/**
 * Sends upgrade requests through Fastify's routes, so that tokens, validation and problems are the same as everywhere: a
 * route either answers plainly or takes the socket with `upgrade`.
 */
export const addUpgrades = (app: FastifyInstance): void => {
  app.server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    upgrades.set(request, { socket, head });
    const response = new ServerResponse(request);
    // After an answer without upgrade nothing more is read from this connection.
    response.shouldKeepAlive = false;
    response.assignSocket(socket as Parameters<ServerResponse["assignSocket"]>[0]);
    socket.on("error", () => socket.destroy());
    response.once("finish", () => socket.end());
    app.routing(request, response);
  });
};

/** Throws REQUEST_INVALID unless the request asks for a WebSocket. */
export const assertUpgrade = (request: FastifyRequest): void => {
  if (!upgrades.has(request.raw)) {
    throw fleetError("REQUEST_INVALID", "This is a WebSocket: connect with `Upgrade: websocket`.");
  }
};

/** Turns the request into a WebSocket that is not read yet: resume it when someone listens. Fastify is done with it. */
export const upgrade = (request: FastifyRequest, reply: FastifyReply): Promise<WebSocket> => {
  const pending = upgrades.get(request.raw);
  if (pending === undefined) throw fleetError("REQUEST_INVALID", "This is a WebSocket.");
  upgrades.delete(request.raw);
  reply.hijack();
  reply.raw.detachSocket(pending.socket as Parameters<ServerResponse["detachSocket"]>[0]);
  return new Promise((resolve, reject) => {
    pending.socket.once("close", () => reject(fleetError("REQUEST_INVALID", "The connection ended.")));
    server.handleUpgrade(request.raw, pending.socket, pending.head, (socket) => {
      socket.pause();
      resolve(socket);
    });
  });
};
