// One started bulkhead-init: its report socket and its reaping.
import { addon, initPath, type FdWatch, type Report } from "./addon.ts";
import { NativeError, unwrap } from "./error.ts";

/** Children are reaped by pidfd when they end, so that no zombie stays and libuv's SIGCHLD handling is not disturbed. */
export function reapWhenEnded(pidfd: number): void {
  const watch = new addon.FdWatch(pidfd, "read", () => {
    addon.reap(pidfd);
    watch.close();
    addon.closeFd(pidfd);
  });
  // An ended agent leaves its shims to whoever adopts orphans.
  watch.unref();
}

/**
 * Shims that this process starts from now on live in these cgroups, one directory per hierarchy: their fork server is
 * moved there, so no start pays for it. None: they are where this process is, and end with whoever ends that.
 */
export function placeShims(cgroups: readonly string[]): void {
  addon.placeShims(cgroups);
}

export interface ShimOptions {
  mode: "container" | "exec";
  /** These, and `relay`, stay open until `begin`. */
  stdio: readonly [number, number, number];
  /** exec with a terminal: the end of a stream that the shim relays to it. */
  relay: number | null;
  initPath?: string;
  /** container: its process is born at once, and waits for the plan. */
  birth?: Uint8Array | undefined;
}

type Received = ReturnType<typeof addon.receive>;

const ECONNRESET = 104;

const noBirth = new Uint8Array();

/** Asks for a shim; answers this end of its report socket. */
const fork = ({ mode, stdio, relay, birth = noBirth, initPath: path = initPath }: ShimOptions): number =>
  unwrap(addon.fork(path, mode, stdio, relay ?? -1, birth));

/** A shim that is forked while its plan is made, and its report socket; messages are taken one by one. */
export class Shim {
  readonly #options: ShimOptions;
  #report: number;
  #watch: FdWatch | undefined;
  readonly #arrived: Received[] = [];
  /** whoever waits for the next message */
  #take: ((received: Received) => void) | undefined;
  #open = true;
  #forked = false;

  constructor(options: ShimOptions) {
    this.#options = options;
    this.#report = fork(options);
  }

  /** Lets it begin. Throws NativeError when it could not be forked. */
  begin(plan: Uint8Array, descriptors: readonly number[] = []): void {
    if (!this.#forked) this.#await();
    unwrap(addon.handPlan(this.#report, plan, descriptors));
  }

  /** False once somebody has killed it before it had its plan, or when it could not be forked. */
  get isWaiting(): boolean {
    try {
      if (!this.#forked) this.#await();
      const received = addon.receive(this.#report);
      return received.ok && received.value === undefined;
    } catch {
      return false;
    }
  }

  #await(): void {
    this.#forked = true;
    let answer = addon.awaitFork(this.#report);
    if (!answer.ok && answer.errno === ECONNRESET) {
      // Somebody killed the fork server with the request in its hands. No shim has the other end, so there is none.
      addon.closeFd(this.#report);
      this.#report = fork(this.#options);
      answer = addon.awaitFork(this.#report);
    }
    reapWhenEnded(unwrap(answer).pidfd);
  }

  /**
   * The next message; null at the end of the stream. Rejects with the NativeError that the shim reports. One at a time;
   * what comes before it is asked for waits.
   */
  next(): Promise<Report | null> {
    const { promise, resolve, reject } = Promise.withResolvers<Report | null>();
    const take = (received: Received): void =>
      received.ok ? resolve(received.value ?? null) : reject(new NativeError(received));
    const arrived = this.#arrived.shift();
    if (arrived !== undefined) {
      take(arrived);
      return promise;
    }
    this.#take = take;
    // Kept from the first message to the last: to watch anew for each costs more than the message.
    this.#watch ??= new addon.FdWatch(this.#report, "read", () => this.#receive());
    return promise;
  }

  #receive(): void {
    const received = addon.receive(this.#report);
    if (received.ok && received.value === undefined) return;
    // Nothing comes after the end, or after what was refused.
    if (!received.ok || received.value === null) this.#unwatch();
    const take = this.#take;
    this.#take = undefined;
    if (take === undefined) this.#arrived.push(received);
    else take(received);
  }

  #unwatch(): void {
    this.#watch?.close();
    this.#watch = undefined;
  }

  /** Resolves when the shim has recorded how its process ended, or is gone itself; never rejects. */
  async ended(): Promise<void> {
    await this.next().catch(() => null);
    this.close();
  }

  resize(rows: number, columns: number): void {
    if (this.#open) unwrap(addon.resize(this.#report, rows, columns));
  }

  /** The network namespace that the shim announced is connected; the start goes on. */
  proceed(): void {
    unwrap(addon.proceed(this.#report));
  }

  /** Tells the shim that nobody listens any more; its last report can still be received. */
  hangUp(): void {
    if (this.#open) addon.hangUp(this.#report);
  }

  /** Gives it up before it has its plan. Resolves when it is gone and what it had begun is undone; never rejects. */
  async abandon(): Promise<void> {
    try {
      if (!this.#forked) this.#await();
      this.hangUp();
      await this.next();
    } catch {
      // It was never there, or was killed: then whoever looks for what has no record finds what it left.
    } finally {
      this.close();
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#unwatch();
    try {
      if (!this.#forked) this.#await();
    } catch {
      // There is no shim, so there is nothing to reap.
    } finally {
      addon.closeFd(this.#report);
    }
  }
}
