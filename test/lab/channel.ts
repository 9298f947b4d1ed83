import { once } from "node:events";
import type { Server, Socket } from "node:net";
import { encodeFrame, frameKinds, FrameReader, jsonFrame, type Ending, type Frame } from "./frames.ts";

export interface LabResult {
  /** exit code; 128 + signal when a signal ended it, 127 when it could not be started (`stderr` says why) */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly timeoutMs: number;
  /** default: the checkout */
  readonly cwd?: string;
  /** on top of the agent's own environment */
  readonly env?: Readonly<Record<string, string>>;
  /** standard input; empty without it */
  readonly input?: string | Buffer;
  /** called with each piece of output as it comes */
  readonly onOutput?: (text: string) => void;
}

/** Told apart from what a command says, in what the caller is told when it is killed. */
const shownBytes = 4096;

/** Largest piece of standard input in one frame. */
const inputBytes = 64 * 1024;

interface Running {
  readonly stdout: Buffer[];
  readonly stderr: Buffer[];
  readonly onOutput: ((text: string) => void) | undefined;
  readonly end: (ending: Ending) => void;
  readonly fail: (error: Error) => void;
}

/** The test's end of the port to the agent in a lab host; commands may run at the same time. */
export class LabChannel {
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  readonly #running = new Map<number, Running>();
  readonly #ready = Promise.withResolvers<undefined>();
  #last = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    // A failed boot is told by whoever waits for `accept`.
    this.#ready.promise.catch(() => {});
    socket.on("data", (piece) => {
      try {
        for (const frame of this.#reader.push(piece)) this.#take(frame);
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    socket.once("error", () => {});
    socket.once("close", () => this.#fail(new Error("the connection to the lab host ended")));
  }

  /** Waits for QEMU to connect and for the agent behind it to say that it is ready. */
  static async accept(server: Server, signal: AbortSignal): Promise<LabChannel> {
    const [socket] = (await once(server, "connection", { signal })) as [Socket];
    const channel = new LabChannel(socket);
    const late = (): void => channel.#fail(new Error("the agent did not answer"));
    signal.addEventListener("abort", late, { once: true });
    try {
      await channel.#ready.promise;
    } finally {
      signal.removeEventListener("abort", late);
    }
    return channel;
  }

  #send(frame: Frame): void {
    this.#socket.write(encodeFrame(frame));
  }

  #take({ kind, command, payload }: Frame): void {
    if (kind === frameKinds.ready) this.#ready.resolve(undefined);
    const running = this.#running.get(command);
    if (running === undefined) return;
    if (kind === frameKinds.ended) running.end(JSON.parse(payload.toString("utf8")) as Ending);
    else if (kind === frameKinds.stdout || kind === frameKinds.stderr) {
      // A view would keep the whole piece it was cut from.
      running[kind === frameKinds.stdout ? "stdout" : "stderr"].push(Buffer.from(payload));
      running.onOutput?.(payload.toString("utf8"));
    }
  }

  #fail(error: Error): void {
    this.#ready.reject(error);
    for (const running of this.#running.values()) running.fail(error);
  }

  /** @throws {Error} when it is not over after `timeoutMs` or the host went away */
  async run(argv: readonly string[], options: RunOptions & { cwd: string }): Promise<LabResult> {
    if (this.#socket.destroyed) throw new Error("the lab host is gone");
    this.#last += 1;
    const command = this.#last;
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    const { promise, resolve: end, reject: fail } = Promise.withResolvers<Ending>();
    this.#running.set(command, { stdout, stderr, onOutput: options.onOutput, end, fail });
    const text = (parts: readonly Buffer[]): string => Buffer.concat(parts).toString("utf8");
    const timer = setTimeout(() => {
      this.#send({ kind: frameKinds.kill, command, payload: Buffer.alloc(0) });
      const said = (text(stdout) + text(stderr)).slice(-shownBytes);
      fail(new Error(`not over after ${options.timeoutMs} ms and killed; it said last:\n${said}`));
    }, options.timeoutMs);
    try {
      this.#send(jsonFrame(frameKinds.order, command, { argv, cwd: options.cwd, env: options.env ?? {} }));
      const input = Buffer.from(options.input ?? "");
      for (let at = 0; at < input.length; at += inputBytes) {
        this.#send({ kind: frameKinds.input, command, payload: input.subarray(at, at + inputBytes) });
      }
      // An empty piece is the end of the input.
      this.#send({ kind: frameKinds.input, command, payload: Buffer.alloc(0) });
      const ending = await promise;
      return { code: ending.code, stdout: text(stdout), stderr: text(stderr) + (ending.error ?? "") };
    } finally {
      clearTimeout(timer);
      this.#running.delete(command);
    }
  }

  /** The agent sees the end of the port and powers the host off, should QEMU survive this. */
  close(): void {
    this.#socket.destroy();
  }
}
