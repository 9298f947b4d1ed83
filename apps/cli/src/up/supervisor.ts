import { setTimeout as delay } from "node:timers/promises";
import type { ServerProcess } from "@bulkhead/bus";
import { configExitCode } from "@bulkhead/service";
import { fleetError } from "@bulkhead/contracts/errors";
import { identityOf, writeProcesses, type StartedProcess } from "./processes.ts";

/** What can be supervised: our services, and the servers of the launchers. */
export interface Startable {
  readonly process: ServerProcess | undefined;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface Supervised {
  readonly name: string;
  readonly server: Startable;
}

/** Delay before a service that died is started again: doubles, and is small again after a minute of running; in ms. */
const backoff = { firstMs: 250, mostMs: 15_000, healthyMs: 60_000 };

export interface SupervisorOptions {
  /** file that names the running processes for the next `up` */
  readonly record: string;
  /** a line for people */
  readonly say: (text: string) => void;
}

/** Starts services in order, starts again what dies, stops them in reverse order. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #running: Supervised[] = [];
  readonly #stopping = new AbortController();
  readonly #failure = Promise.withResolvers<never>();
  #recording: Promise<void> = Promise.resolve();
  #adding: Promise<void> = Promise.resolve();
  #starting: Startable | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#failure.promise.catch(() => undefined);
  }

  /** Rejects when a service cannot be kept running: its configuration is invalid. */
  get failed(): Promise<never> {
    return this.#failure.promise;
  }

  /** Starts a service and keeps it running from then on. Rejects when it does not become ready this first time. */
  add(supervised: Supervised): Promise<void> {
    const added = this.#add(supervised);
    this.#adding = added.catch(() => undefined);
    return added;
  }

  async #add(supervised: Supervised): Promise<void> {
    const { signal } = this.#stopping;
    signal.throwIfAborted();
    this.#starting = supervised.server;
    try {
      await supervised.server.start();
    } finally {
      this.#starting = undefined;
    }
    // A stop that came while it started waits for this, and then finds it among those that run.
    this.#running.push(supervised);
    if (signal.aborted) return;
    await this.#remember();
    void this.#keep(supervised);
  }

  /** Stops everything, the newest first, also what is being started; nothing can be added any more. */
  async stop(): Promise<void> {
    this.#stopping.abort(fleetError("STATE_CONFLICT", "The fleet is being stopped."));
    // What is not ready yet need not become so.
    await this.#starting?.stop();
    await this.#adding;
    // What failed before anything ran has no place to remember it in.
    if (this.#running.length === 0) return;
    for (const { server } of this.#running.toReversed()) await server.stop();
    this.#running.length = 0;
    await this.#remember();
  }

  async #keep(supervised: Supervised): Promise<void> {
    let waitMs = backoff.firstMs;
    while (!this.#stopping.signal.aborted) {
      const started = performance.now();
      const exit = await supervised.server.process?.exited;
      if (this.#stopping.signal.aborted) return;
      if (exit?.code === configExitCode) {
        const words = supervised.server.process?.tail ?? "";
        this.#failure.reject(fleetError("CONFIG_INVALID", `${supervised.name} refuses its configuration.\n${words}`));
        return;
      }
      if (performance.now() - started > backoff.healthyMs) waitMs = backoff.firstMs;
      const how =
        exit === undefined
          ? "is not running"
          : exit.signal === null
            ? `ended with exit code ${exit.code}`
            : `was ended by ${exit.signal}`;
      this.#options.say(`${supervised.name} ${how}; starting it again in ${waitMs} ms (instances keep running)`);
      await this.#restart(supervised, waitMs);
      waitMs = Math.min(waitMs * 2, backoff.mostMs);
    }
  }

  async #restart({ name, server }: Supervised, waitMs: number): Promise<void> {
    const { signal } = this.#stopping;
    try {
      await delay(waitMs, undefined, { signal });
      await server.start();
      // A stop that came while it started has not seen the new process.
      if (signal.aborted) await server.stop();
      else this.#options.say(`${name} runs again`);
      await this.#remember();
    } catch (error) {
      if (signal.aborted) return;
      this.#options.say(`${name} could not be started: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #remember(): Promise<void> {
    const processes: StartedProcess[] = this.#running.flatMap(({ name, server }) => {
      const identity = server.process?.pid === undefined ? undefined : identityOf(server.process.pid);
      return identity === undefined ? [] : [{ name, ...identity }];
    });
    // One writer at a time: two restarts at once would write the same draft.
    this.#recording = this.#recording.then(() => writeProcesses(this.#options.record, processes));
    return this.#recording;
  }
}
