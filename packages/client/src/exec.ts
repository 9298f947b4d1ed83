import { Readable, Writable } from "node:stream";
import { fleetError } from "@bulkhead/contracts/errors";
import { channels, decodeFrame, encodeFrame, maximumFrameBytes } from "@bulkhead/contracts/stream";
import type { StreamControl, StreamExit } from "@bulkhead/contracts";
import { WebSocket } from "ws";
import { errorOfAnswer } from "./problem.ts";
import { segment } from "./request.ts";
import type { Transport } from "./transport.ts";

export interface ExecOptions {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly workingDir?: string;
  readonly user?: string;
  readonly tty: boolean;
  readonly rows?: number;
  readonly columns?: number;
}

/** A command in an instance. With a tty everything comes on `stdout`; streams carry back-pressure to the process. */
export interface ExecStream {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** How it ended; rejects FleetError when it never began or the connection broke. */
  readonly ended: Promise<StreamExit>;
  resize(rows: number, columns: number): void;
  signal(signal: number): void;
  /** Gives up: the command gets SIGHUP. */
  close(): void;
}

const controlFrame = (control: StreamControl): Uint8Array =>
  encodeFrame(channels.control, Buffer.from(JSON.stringify(control)));

/** A readable end that stops the socket while its reader is behind. */
const receiver = (socket: WebSocket): Readable => new Readable({ read: () => socket.resume() });

const sender = (socket: WebSocket): Writable =>
  new Writable({
    highWaterMark: maximumFrameBytes,
    write(chunk: Buffer, _encoding, done) {
      const send = (offset: number): void => {
        const piece = chunk.subarray(offset, offset + maximumFrameBytes);
        // The callback comes when the kernel took the bytes, so a full connection stops the writer.
        socket.send(encodeFrame(channels.stdin, piece), (error) => {
          if (error) done(error);
          else if (offset + piece.byteLength < chunk.byteLength) send(offset + piece.byteLength);
          else done();
        });
      };
      send(0);
    },
    final(done) {
      if (socket.readyState === WebSocket.OPEN) socket.send(controlFrame({ type: "end-of-input" }), () => done());
      else done();
    },
  });

/** Opens the socket; an HTTP answer instead of an upgrade is that answer's problem. */
const open = (socket: WebSocket, address: string): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("unexpected-response", (_request, answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.once("end", () => {
        errorOfAnswer({
          status: answer.statusCode ?? 500,
          text: () => Promise.resolve(Buffer.concat(chunks).toString()),
        }).then(reject, reject);
      });
    });
    socket.once("error", (cause) => {
      reject(fleetError("API_UNREACHABLE", `${address} does not answer: ${cause.message}.`, { cause }));
    });
  });

const exitOf = (payload: Uint8Array): StreamExit => JSON.parse(Buffer.from(payload).toString()) as StreamExit;

/** Runs a command in an instance (id or name). Rejects FleetError when the API refuses it. */
export const openExec = async (transport: Transport, instance: string, options: ExecOptions): Promise<ExecStream> => {
  const { env, command, ...rest } = options;
  const prepared = transport.prepare({
    method: "GET",
    path: `/v1/instances/${segment(instance)}/exec`,
    query: { ...rest, command: JSON.stringify(command), ...(env === undefined ? {} : { env: JSON.stringify(env) }) },
  });
  transport.options.onRequest?.(prepared);
  const socket = new WebSocket(prepared.url.replace(/^http/, "ws"), {
    headers: prepared.headers,
    perMessageDeflate: false,
    maxPayload: maximumFrameBytes + 1,
  });
  const ended = Promise.withResolvers<StreamExit>();
  // Whoever opens the stream may look at `ended` later than it rejects.
  ended.promise.catch(() => undefined);
  const stdout = receiver(socket);
  const stderr = receiver(socket);
  // Frames may arrive in the packet that completes the upgrade, so the listener is there before `open`.
  socket.on("message", (data: Buffer) => {
    const frame = decodeFrame(data);
    if (frame === undefined) return;
    const target = frame.channel === channels.stdout ? stdout : frame.channel === channels.stderr ? stderr : undefined;
    if (target !== undefined && !target.push(frame.payload)) socket.pause();
    if (frame.channel !== channels.exit) return;
    const exit = exitOf(frame.payload);
    if (exit.error === undefined) ended.resolve(exit);
    else ended.reject(fleetError("EXEC_FAILED", exit.error.detail, { cause: exit.error }));
  });
  socket.once("close", () => {
    stdout.push(null);
    stderr.push(null);
    ended.reject(fleetError("HOST_UNREACHABLE", "The connection ended before the command did."));
  });
  await open(socket, transport.options.url);
  socket.on("error", (cause) => {
    ended.reject(fleetError("HOST_UNREACHABLE", `The connection broke: ${cause.message}.`, { cause }));
  });
  return {
    stdin: sender(socket),
    stdout,
    stderr,
    ended: ended.promise,
    resize: (rows, columns) => socket.send(controlFrame({ type: "resize", rows, columns })),
    signal: (signal) => socket.send(controlFrame({ type: "signal", signal })),
    close: () => socket.close(),
  };
};
