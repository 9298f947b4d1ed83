import { channels, maximumFrameBytes, toProblem, type OpenLogs } from "@bulkhead/contracts";
import type { LogLine, Runtime } from "../runtime.ts";
import type { StreamSocket } from "./stream-socket.ts";

/** Time, mark and two spaces before the text: RFC 3339 with nanoseconds is 30 bytes long. */
const headBytes = 64;

/** `<time> <F|P> <text>`, in pieces that fit a frame; all but the last are marked as going on. */
export function* framesOf(line: LogLine): Iterable<Uint8Array> {
  const room = maximumFrameBytes - headBytes;
  let offset = 0;
  do {
    const text = line.text.subarray(offset, offset + room);
    offset += room;
    const whole = line.complete && offset >= line.text.byteLength;
    yield Buffer.concat([Buffer.from(`${line.at} ${whole ? "F" : "P"} `), text]);
  } while (offset < line.text.byteLength);
}

/** Sends an instance's log until it ends, its reader goes, or `signal` aborts. Never rejects. */
export const serveLogs = async (
  socket: StreamSocket,
  parts: { open: OpenLogs; runtime: Runtime; signal: AbortSignal },
): Promise<void> => {
  const { open, runtime } = parts;
  const gone = new AbortController();
  void socket.closed.then(() => gone.abort());
  // Nothing is expected from this side, but a close frame must be seen.
  socket.receive(() => undefined);
  const signal = AbortSignal.any([gone.signal, parts.signal]);
  const request = {
    follow: open.follow,
    ...(open.tailLines === undefined ? {} : { tailLines: open.tailLines }),
    ...(open.since === undefined ? {} : { since: open.since }),
  };
  try {
    for await (const line of runtime.logs(open.instanceId, request, signal)) {
      for (const frame of framesOf(line)) await socket.send(channels[line.stream], frame);
    }
    await socket.finish({ exitCode: null, signal: null });
  } catch (error) {
    if (signal.aborted) return;
    const { code, detail } = toProblem(error);
    await socket.finish({ exitCode: null, signal: null, error: { code, detail } });
  }
};
