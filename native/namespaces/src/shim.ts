// One started bulkhead-init: its report socket and its reaping.
import { addon, initPath, type Report } from "./addon.ts";
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

export interface ShimOptions {
  mode: "container" | "exec";
  plan: Uint8Array;
  stdio: readonly [number, number, number];
  /** exec with a terminal: the end of a stream that the shim relays to it. */
  relay: number | null;
  initPath?: string;
}

/** A report socket; messages are taken one by one. */
export class Shim {
  readonly pid: number;
  #report: number;
  #open = true;

  constructor(options: ShimOptions) {
    const launched = unwrap(
      addon.launch(options.initPath ?? initPath, options.mode, options.plan, options.stdio, options.relay ?? -1),
    );
    this.pid = launched.pid;
    this.#report = launched.report;
    reapWhenEnded(launched.pidfd);
  }

  /** The next message; null at the end of the stream. Rejects with the NativeError that the shim reports. */
  next(): Promise<Report | null> {
    const { promise, resolve, reject } = Promise.withResolvers<Report | null>();
    const watch = new addon.FdWatch(this.#report, "read", () => {
      const received = addon.receive(this.#report);
      if (received.ok && received.value === undefined) return;
      watch.close();
      if (received.ok) resolve(received.value ?? null);
      else reject(new NativeError(received));
    });
    return promise;
  }

  /** Resolves when the shim has recorded how its process ended, or is gone itself; never rejects. */
  async ended(): Promise<void> {
    await this.next().catch(() => null);
    this.close();
  }

  resize(rows: number, columns: number): void {
    if (this.#open) unwrap(addon.resize(this.#report, rows, columns));
  }

  /** Tells the shim that nobody listens any more; its last report can still be received. */
  hangUp(): void {
    if (this.#open) addon.hangUp(this.#report);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    addon.closeFd(this.#report);
  }
}
