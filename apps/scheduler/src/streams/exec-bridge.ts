import { type StreamExit, StreamControl, channels, decodeFrame, encodeFrame } from "@bulkhead/contracts";
import { Compile } from "typebox/compile";
import { WebSocket } from "ws";
import type { EarlyMessage } from "./exec-request.ts";
import { type Verdict, relay } from "./relay.ts";

const control = Compile(StreamControl);

/** An end that does not answer the closing handshake is cut off after this long, in milliseconds. */
const closeMs = 5_000;

/** A connection that is not read does not notice that its peer went; a message sent now and then does, in ms. */
const probeMs = 15_000;

/** WebSocket close codes (RFC 6455 section 7.4.1). */
const closeCodes = { normal: 1000, policyViolation: 1008, internalError: 1011 } as const;

const isControl = (payload: Uint8Array): boolean => {
  try {
    return control.Check(JSON.parse(Buffer.from(payload).toString("utf8")));
  } catch {
    return false;
  }
};

/** Clients send input and control messages only. */
const judgeClient = (message: Buffer): Verdict => {
  const frame = decodeFrame(message);
  if (frame?.channel === channels.stdin) return "pass";
  return frame?.channel === channels.control && isControl(frame.payload) ? "pass" : "refuse";
};

/** Agents send output and the exit only. */
const judgeAgent = (message: Buffer): Verdict => {
  const channel = decodeFrame(message)?.channel;
  return channel === channels.stdout || channel === channels.stderr || channel === channels.exit ? "pass" : "refuse";
};

const exitFrame = (code: string, detail: string): Uint8Array => {
  const exit: StreamExit = { exitCode: null, signal: null, error: { code, detail } };
  return encodeFrame(channels.exit, Buffer.from(JSON.stringify(exit)));
};

/** Closes a socket, paused or not; the frames sent before arrive first. */
const close = (socket: WebSocket, code: number): void => {
  if (socket.readyState === WebSocket.CLOSED) return;
  // A paused socket would never see its peer's answer.
  socket.resume();
  socket.close(code);
  const timer = setTimeout(() => socket.terminate(), closeMs);
  socket.once("close", () => clearTimeout(timer));
};

/** Tells the client why there is no exit status, as the stream's last frame, and closes. */
export const refuseExec = (client: WebSocket, code: string, detail: string): void => {
  if (client.readyState === WebSocket.OPEN) client.send(exitFrame(code, detail));
  close(client, closeCodes.internalError);
};

/**
 * Joins a client and an agent until one of them goes. The agent's exit frame ends it normally; an agent that goes without
 * one is told to the client as an exit with an error; a client that goes ends the command. Both sockets come paused;
 * `early` is what the client has sent already.
 */
export const bridgeExec = (client: WebSocket, agent: WebSocket, early: readonly EarlyMessage[] = []): void => {
  let exited = false;
  relay(client, agent, {
    judge: judgeClient,
    violated: () => {
      close(agent, closeCodes.normal);
      refuseExec(client, "REQUEST_INVALID", "A message was not a frame that clients send.");
    },
  });
  relay(agent, client, {
    judge: (message) => {
      if (exited) return "drop";
      exited = message[0] === channels.exit;
      return judgeAgent(message);
    },
    violated: () => {
      agent.terminate();
      refuseExec(client, "INTERNAL", "The host's agent sent what is not a frame.");
    },
  });
  agent.once("close", () => {
    if (exited) close(client, closeCodes.normal);
    else refuseExec(client, "HOST_UNREACHABLE", "The host's agent went away before the command ended.");
  });
  client.once("close", () => close(agent, closeCodes.normal));
  const probe = setInterval(() => {
    if (client.readyState === WebSocket.OPEN) client.ping();
    if (agent.readyState === WebSocket.OPEN) agent.ping();
  }, probeMs);
  client.once("close", () => clearInterval(probe));
  // A socket reports its errors as a close as well.
  agent.on("error", () => undefined);
  client.on("error", () => undefined);
  agent.resume();
  client.resume();
  for (const { data, isBinary } of early) client.emit("message", data, isBinary);
};
