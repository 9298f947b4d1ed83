import {
  fleetError,
  type InstanceId,
  type InstanceView,
  type OpenExec,
  type OpenLogs,
  type SharesApplied,
  type SignalInstance,
  type TakenSnapshot,
  type TakeSnapshot,
  type VerifySnapshot,
  type ViewInstance,
} from "@bulkhead/contracts";
import type { Clock } from "../clock.ts";
import type { InstanceSet } from "../instance-set.ts";
import type { Log } from "../log.ts";
import type { Run, Runtime } from "../runtime.ts";
import { serveExec } from "./exec-stream.ts";
import { serveLogs } from "./log-stream.ts";
import { LongWork } from "./long-work.ts";
import { StreamSocket } from "./stream-socket.ts";

/** Streams one agent serves at a time; each may hold a few hundred KiB. */
const streamLimit = 256;

const mib = (bytes: number): number => Math.floor(bytes / 2 ** 20);

/** Answers commands about single instances: exec, logs, signal, view. Byte streams go over sockets that the agent opens. */
export class Commands {
  readonly #instances: InstanceSet;
  readonly #runtime: Runtime;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #work: LongWork;
  readonly #open = new Set<StreamSocket>();
  readonly #leaving = new AbortController();
  /** accepted, and not over yet */
  #streams = 0;

  constructor(parts: { instances: InstanceSet; runtime: Runtime; clock: Clock; log: Log }) {
    this.#instances = parts.instances;
    this.#runtime = parts.runtime;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#work = new LongWork(parts.clock);
  }

  /** Accepts when there is something to run it in; how it goes on is told on the stream. */
  exec(open: OpenExec): void {
    const run = this.#livingRun(open.instanceId);
    if (run.paused)
      throw fleetError("STATE_CONFLICT", "the instance is paused; resume it before running commands in it");
    this.#serve(open, (socket) => serveExec(socket, { open, run, clock: this.#clock }));
  }

  /** Accepts for every instance this host knows, running or not. */
  logs(open: OpenLogs): void {
    if (this.#instances.get(open.instanceId) === undefined) throw this.#notHere(open.instanceId);
    this.#serve(open, (socket) => serveLogs(socket, { open, runtime: this.#runtime, signal: this.#leaving.signal }));
  }

  signal({ instanceId, signal }: SignalInstance): void {
    if (!this.#livingRun(instanceId).signal(signal)) throw fleetError("STATE_CONFLICT", "the instance has ended");
  }

  /** Of one that does not run nothing needs to be changed: its next start obeys the document. */
  async applyShares(instanceId: InstanceId): Promise<SharesApplied> {
    const driver = this.#instances.get(instanceId);
    if (driver?.record.living !== undefined && driver.record.adopted === undefined) {
      throw fleetError("STATE_CONFLICT", "the instance is just being taken over; ask again");
    }
    if (driver?.record.adopted === undefined) return { running: false, outcomes: [] };
    return { running: true, outcomes: await driver.shares.settle() };
  }

  /** Refused when it does not run: then there is nothing to read. */
  async view({ instanceId, seccompFrom }: ViewInstance): Promise<InstanceView> {
    return this.#livingRun(instanceId).view(seccompFrom);
  }

  /** Refused by the runtime when it does not run, except for a snapshot that was taken before. */
  takeSnapshot({ instanceId, snapshotId }: TakeSnapshot): Promise<TakenSnapshot> {
    return this.#work.answer(`take ${snapshotId}`, async (tell) => {
      if (this.#instances.get(instanceId) === undefined) throw this.#notHere(instanceId);
      tell("its host takes it");
      return this.#runtime.snapshot(instanceId, snapshotId);
    });
  }

  verifySnapshot({ snapshotId }: VerifySnapshot): Promise<void> {
    return this.#work.answer(`verify ${snapshotId}`, (tell) =>
      this.#runtime.verifySnapshot(snapshotId, ({ readBytes, totalBytes }) =>
        tell(`its host has read ${mib(readBytes)} of ${mib(totalBytes)} MiB`),
      ),
    );
  }

  /** Ends all streams. */
  close(): void {
    this.#leaving.abort();
    for (const socket of this.#open) socket.leave();
  }

  #notHere(instanceId: InstanceId): Error {
    return fleetError("NOT_FOUND", `instance ${instanceId} is not on this host; look at its hostId`);
  }

  #livingRun(instanceId: InstanceId): Run {
    const driver = this.#instances.get(instanceId);
    if (driver === undefined) throw this.#notHere(instanceId);
    const held = driver.record.living;
    if (held === undefined) throw fleetError("STATE_CONFLICT", "the instance is not running; wait until it is");
    return held.run;
  }

  #serve(
    target: { url: string; token: string; streamId: string; instanceId: InstanceId },
    stream: (socket: StreamSocket) => Promise<void>,
  ): void {
    if (this.#leaving.signal.aborted) throw fleetError("HOST_UNREACHABLE", "the agent is stopping; try again soon");
    if (!/^wss?:\/\//.test(target.url)) throw fleetError("REQUEST_INVALID", "url: must begin with ws:// or wss://");
    if (this.#streams >= streamLimit) {
      throw fleetError("OVERLOADED", `this host already serves ${streamLimit} streams`, {
        fields: { retryAfterMs: 1_000 },
      });
    }
    this.#streams += 1;
    void this.#carry(target, stream).finally(() => (this.#streams -= 1));
  }

  async #carry(
    target: { url: string; token: string; streamId: string; instanceId: InstanceId },
    stream: (socket: StreamSocket) => Promise<void>,
  ): Promise<void> {
    const { streamId, instanceId } = target;
    let socket: StreamSocket;
    try {
      socket = await StreamSocket.open(target, this.#clock);
    } catch (error) {
      this.#log.warn({ streamId, instanceId, err: error }, "stream not opened");
      return;
    }
    this.#open.add(socket);
    if (this.#leaving.signal.aborted) socket.leave();
    try {
      await stream(socket);
      await socket.closed;
    } finally {
      this.#open.delete(socket);
    }
  }
}
