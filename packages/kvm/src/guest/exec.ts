import { Writable } from "node:stream";
import { constants } from "node:os";
import { fleetError } from "@bulkhead/contracts";
import { settlesWithin, type ExecRequest, type ExecSession, type ProcessPlan } from "@bulkhead/node";
import type { GuestChannel, StreamListener } from "./channel.ts";
import { frameTypes, payloadMax, windowBytes, type Frame } from "./frames.ts";
import { GuestOutput } from "./guest-output.ts";
import { encodeProcess } from "./settings.ts";

const codes = new Map(Object.entries(constants.errno).map(([name, errno]) => [errno, name]));

/** errno's name in `EXYZ` form. */
export const errnoName = (errno: number): string => codes.get(errno) ?? `errno ${errno}`;

/** How long a guest may take to start a command, in milliseconds: as long as it may take to greet in all. */
const startMs = 30_000;

const pair = (rows: number, columns: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt16LE(rows, 0);
  bytes.writeUInt16LE(columns, 2);
  return bytes;
};

const requestOf = (request: ExecRequest, process: ProcessPlan): Buffer => {
  const env = new Map(process.env.map((entry) => [entry.slice(0, entry.indexOf("=")), entry]));
  for (const [name, value] of Object.entries(request.env ?? {})) env.set(name, `${name}=${value}`);
  if (request.tty && !env.has("TERM")) env.set("TERM", "TERM=xterm");
  const words = encodeProcess({
    args: request.command,
    env: [...env.values()],
    cwd: request.workingDir ?? process.cwd,
    user: request.user ?? process.user,
  });
  const head = Buffer.from([request.tty ? 1 : 0, 0]);
  return Buffer.concat([head, pair(request.rows ?? 24, request.columns ?? 80), words]);
};

interface Pending {
  readonly bytes: Buffer;
  readonly done: (error?: Error | null) => void;
}

/** A command inside a machine. Neither side sends more than the other has room for. */
export class GuestExec implements ExecSession, StreamListener {
  readonly stdin: Writable;
  readonly stdout = new GuestOutput((bytes) => this.#taken(bytes));
  readonly stderr: GuestOutput | null;
  readonly ended: Promise<{ exitCode: number | null; signal: number | null }>;
  readonly #channel: GuestChannel;
  readonly #stream: number;
  readonly #started = Promise.withResolvers<void>();
  readonly #end = Promise.withResolvers<{ exitCode: number | null; signal: number | null }>();
  /** bytes that the guest still takes */
  #window = windowBytes;
  /** bytes of its output that nobody has read yet */
  #unread = 0;
  #pending: Pending | null = null;
  #over = false;

  private constructor(channel: GuestChannel, tty: boolean) {
    this.#channel = channel;
    this.#stream = channel.listen(this);
    this.stderr = tty ? null : new GuestOutput((bytes) => this.#taken(bytes));
    this.ended = this.#end.promise;
    this.ended.catch(() => undefined);
    this.stdin = new Writable({
      write: (bytes: Buffer, _encoding, done) => this.#write({ bytes, done }),
      final: (done) => {
        if (!this.#over) channel.send(frameTypes.input, this.#stream);
        done();
      },
    });
    this.stdin.on("error", () => undefined);
  }

  /**
   * Resolves when the command runs. Rejects EXEC_FAILED when it cannot, REQUEST_INVALID when it is too large to be sent,
   * RUNTIME_FAILED when the guest does not say in time or its connection ends.
   */
  static async open(
    channel: GuestChannel,
    request: ExecRequest,
    process: ProcessPlan,
    withinMs = startMs,
  ): Promise<GuestExec> {
    const session = new GuestExec(channel, request.tty);
    try {
      channel.send(frameTypes.exec, session.#stream, requestOf(request, process));
      const settled = settlesWithin(session.#started.promise, withinMs);
      if (!(await settled)) throw fleetError("RUNTIME_FAILED", `the guest did not start the command in ${withinMs} ms`);
      return session;
    } catch (error) {
      session.#abandon();
      throw error;
    }
  }

  #write(pending: Pending): void {
    if (this.#over) {
      pending.done();
      return;
    }
    let { bytes } = pending;
    while (bytes.length > 0 && this.#window > 0) {
      const part = bytes.subarray(0, Math.min(this.#window, payloadMax));
      this.#channel.send(frameTypes.input, this.#stream, part);
      this.#window -= part.length;
      bytes = bytes.subarray(part.length);
    }
    if (bytes.length === 0) pending.done();
    else this.#pending = { bytes, done: pending.done };
  }

  #continue(): void {
    const pending = this.#pending;
    this.#pending = null;
    if (pending !== null) this.#write(pending);
  }

  frame({ type, payload }: Frame): void {
    switch (type) {
      case frameTypes.started:
        this.#started.resolve();
        return;
      case frameTypes.failed:
        this.#refuse(payload);
        return;
      case frameTypes.taken:
        if (payload.length !== 4) return;
        this.#window = Math.min(windowBytes, this.#window + payload.readUInt32LE(0));
        this.#continue();
        return;
      case frameTypes.output:
        this.#carry(this.stdout, payload);
        return;
      case frameTypes.error:
        this.#carry(this.stderr ?? this.stdout, payload);
        return;
      case frameTypes.ended:
        this.#finish(payload);
        return;
      default:
    }
  }

  /** The guest is told of room when the bytes are read; one that does not wait for it is cut off. */
  #carry(to: GuestOutput, payload: Buffer): void {
    this.#unread += payload.length;
    if (this.#unread > windowBytes) {
      this.#channel.cutOff("the guest sent more output than it may before it is read");
      return;
    }
    to.add(payload);
  }

  #taken(bytes: number): void {
    this.#unread -= bytes;
    if (!this.#over) this.#channel.sendNumber(frameTypes.taken, this.#stream, bytes);
  }

  #refuse(payload: Buffer): void {
    const code = errnoName(payload.length < 4 ? 0 : payload.readInt32LE(0));
    const step = payload.toString("latin1", 4).replaceAll(/[^\x20-\x7e]/g, "?");
    const error = fleetError("EXEC_FAILED", `the command did not start (${step}: ${code})`);
    this.#started.reject(error);
    this.#close();
    this.#end.reject(error);
  }

  #finish(payload: Buffer): void {
    const [exitCode = -1, signal = 0] = payload.length === 8 ? [payload.readInt32LE(0), payload.readInt32LE(4)] : [];
    this.#close();
    this.#end.resolve({
      exitCode: exitCode >= 0 && exitCode <= 255 ? exitCode : null,
      signal: signal >= 1 && signal <= 64 ? signal : null,
    });
  }

  /** A guest whose host is gone ends what that had started. */
  lost(): void {
    this.#started.reject(fleetError("RUNTIME_FAILED", "the connection to the guest ended before the command started"));
    this.#close();
    this.#end.resolve({ exitCode: null, signal: 9 });
  }

  /** Should it start after all, the guest ends it. */
  #abandon(): void {
    this.close();
    this.#close();
    this.#end.resolve({ exitCode: null, signal: 9 });
  }

  #close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#continue();
    this.stdout.finish();
    this.stderr?.finish();
    this.stdin.destroy();
    this.#channel.leave(this.#stream);
  }

  resize(rows: number, columns: number): void {
    if (!this.#over) this.#channel.send(frameTypes.resize, this.#stream, pair(rows, columns));
  }

  signal(signal: number): void {
    if (!this.#over) this.#channel.sendNumber(frameTypes.kill, this.#stream, signal);
  }

  close(): void {
    if (!this.#over) this.#channel.send(frameTypes.close, this.#stream);
  }
}
