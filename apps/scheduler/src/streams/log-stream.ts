import { Readable } from "node:stream";
import { type StreamExit, channels, decodeFrame, fleetError } from "@bulkhead/contracts";
import type { WebSocket } from "ws";
import { type LogRenderer, parseLogRecord } from "./log-lines.ts";

/** RFC 6455: the other end closed on purpose. */
const normalClosure = 1000;

const failureOf = (payload: Uint8Array): StreamExit["error"] => {
  try {
    return (JSON.parse(Buffer.from(payload).toString("utf8")) as StreamExit).error;
  } catch {
    return { code: "INTERNAL", detail: "the agent's last frame is not JSON" };
  }
};

/**
 * An agent's log stream as the bytes of an answer. While the reader is behind, the agent's connection is not read; when
 * the reader goes, it is closed. An agent that goes without saying so fails the stream with HOST_UNREACHABLE.
 */
export const logStream = (agent: WebSocket, render: LogRenderer): Readable => {
  let ended = false;
  const stream = new Readable({
    read: () => agent.resume(),
    destroy: (error, done) => {
      agent.terminate();
      done(error);
    },
  });
  const end = () => {
    if (!ended) stream.push(null);
    ended = true;
  };
  const fail = (detail: string) => {
    ended = true;
    stream.destroy(fleetError("HOST_UNREACHABLE", detail));
  };
  agent.on("message", (data) => {
    if (ended) return;
    const frame = decodeFrame(data as Buffer);
    if (frame?.channel === channels.exit) {
      const error = failureOf(frame.payload);
      return error === undefined ? end() : fail(`The log cannot be read: ${error.detail}.`);
    }
    const record = frame === undefined ? undefined : parseLogRecord(frame.channel, frame.payload);
    if (record === undefined) return fail("The host's agent sent what is not a log record.");
    if (!stream.push(render(record))) agent.pause();
  });
  agent.once("close", (code) => {
    if (ended) return;
    if (code === normalClosure) end();
    else fail("The host's agent went away.");
  });
  agent.on("error", () => undefined);
  agent.resume();
  return stream;
};
