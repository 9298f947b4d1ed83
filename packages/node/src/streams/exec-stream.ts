import { channels, StreamControl, toProblem, type OpenExec, type StreamExit } from "@bulkhead/contracts";
import { Compile } from "typebox/compile";
import type { Clock, Timer } from "../clock.ts";
import type { ExecSession, Run } from "../runtime.ts";
import type { StreamSocket } from "./stream-socket.ts";

/**
 * How long output may stay silent after the command ended before the stream ends too, in milliseconds: a background
 * process may hold the pipe open for ever.
 */
const silenceMs = 1_000;

const controlOf = Compile(StreamControl);

/** Writes and waits until the command took it; a command that closed its input is not an error. */
const feed = (stdin: NodeJS.WritableStream, payload: Uint8Array): Promise<void> =>
  new Promise((resolve) => {
    if (!stdin.writable || payload.byteLength === 0) resolve();
    else stdin.write(payload, () => resolve());
  });

const control = (session: ExecSession, payload: Uint8Array): void => {
  const message = controlOf.Parse(JSON.parse(Buffer.from(payload).toString("utf8")));
  switch (message.type) {
    case "resize":
      session.resize(message.rows, message.columns);
      return;
    case "signal":
      session.signal(message.signal);
      return;
    case "end-of-input":
      session.stdin.end();
      return;
    default: {
      const never: never = message;
      throw new TypeError(`unknown control message ${JSON.stringify(never)}`);
    }
  }
};

/** Resolves when the output moved nothing for `silenceMs` since the last call of its `moved`. */
const silence = (clock: Clock): { moved: (busy: boolean) => void; arm: () => void; quiet: Promise<void> } => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let timer: Timer | null = null;
  let armed = false;
  let busy = 0;
  const restart = (): void => {
    timer?.cancel();
    if (armed && busy === 0) timer = clock.after(silenceMs, () => resolve());
  };
  return {
    moved: (begins) => {
      busy += begins ? 1 : -1;
      restart();
    },
    arm: () => {
      armed = true;
      restart();
    },
    quiet: promise,
  };
};

const errorExit = (error: unknown): StreamExit => {
  const { code, detail } = toProblem(error);
  return { exitCode: null, signal: null, error: { code, detail } };
};

/** Runs a command in an instance and joins it to the socket until both are done. Never rejects. */
export const serveExec = async (
  socket: StreamSocket,
  parts: { open: OpenExec; run: Run; clock: Clock },
): Promise<void> => {
  const { open, run, clock } = parts;
  let session: ExecSession;
  try {
    session = await run.exec({
      command: open.command,
      tty: open.tty,
      ...(open.env === undefined ? {} : { env: open.env }),
      ...(open.workingDir === undefined ? {} : { workingDir: open.workingDir }),
      ...(open.user === undefined ? {} : { user: open.user }),
      ...(open.rows === undefined ? {} : { rows: open.rows }),
      ...(open.columns === undefined ? {} : { columns: open.columns }),
    });
  } catch (error) {
    await socket.finish(errorExit(error));
    return;
  }
  // Its user went away: nobody is left to end the command.
  void socket.closed.then(() => session.close());
  session.stdin.on("error", () => undefined);
  socket.receive((channel, payload) => {
    if (channel === channels.stdin) return feed(session.stdin, payload);
    if (channel === channels.control) control(session, payload);
    return undefined;
  });
  const idle = silence(clock);
  const pump = async (source: NodeJS.ReadableStream, channel: typeof channels.stdout | typeof channels.stderr) => {
    try {
      for await (const chunk of source) {
        idle.moved(true);
        await socket.send(channel, typeof chunk === "string" ? Buffer.from(chunk) : chunk);
        idle.moved(false);
      }
    } catch {
      // The socket closed, or the pipe broke with the command: either way there is nothing more to carry.
    }
  };
  const drained = Promise.all([
    pump(session.stdout, channels.stdout),
    ...(session.stderr === null ? [] : [pump(session.stderr, channels.stderr)]),
  ]);
  const exit = await session.ended;
  idle.arm();
  await Promise.race([drained, idle.quiet, socket.closed]);
  await socket.finish(exit);
};
