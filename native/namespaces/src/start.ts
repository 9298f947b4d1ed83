import { initPath, type TimedStep } from "./addon.ts";
import { NativeError } from "./error.ts";
import { compileBirth, type BirthInput, type Plan } from "./plan.ts";
import type { ProcessRef } from "./records.ts";
import { Shim } from "./shim.ts";

export interface Started {
  shim: ProcessRef;
  init: ProcessRef;
  startedAtUnixMs: number;
  /**
   * Resolves when the exit record is written, or the shim is gone without one; never rejects. It is told before the
   * shim takes down the container's mounts, so it comes sooner than `watchExit(shim)`. To be called once.
   */
  watchEnd(): Promise<void>;
  /** With testing.trace only. */
  timings?: readonly TimedStep[];
}

export interface StartOptions {
  /** Descriptors for a plan without a log; -1 is /dev/null, as are all three by default. */
  stdio?: readonly [number, number, number];
  /** For a plan with awaitNetwork: connects the network namespace of that process; its failure fails the start. */
  connect?: (pid: number) => Promise<void>;
  /** Its process is made at once, in namespaces and cgroups; a plan that wants others costs no more than without. */
  birth?: BirthInput;
  /** Another build of bulkhead-init, for tests. */
  initPath?: string;
}

const ECONNRESET = 104;

/** A start whose process is being made while its plan still is. Disposing undoes it, unless `run` was called. */
export class PreparedStart implements AsyncDisposable {
  readonly #shim: Shim;
  readonly #connect: StartOptions["connect"];
  #begun = false;

  constructor(options: StartOptions = {}) {
    this.#connect = options.connect;
    const { birth } = options;
    this.#shim = new Shim({
      mode: "container",
      stdio: options.stdio ?? [-1, -1, -1],
      relay: null,
      initPath: options.initPath ?? initPath,
      birth: birth === undefined ? undefined : compileBirth(birth),
    });
  }

  /** Whether its shim is still there to be given a plan; to be asked before `run`, of one that was made long ago. */
  get isWaiting(): boolean {
    return this.#shim.isWaiting;
  }

  /**
   * Resolves when the entrypoint's execve has succeeded; rejects with NativeError and everything undone. Once.
   * `descriptors`: what a plan that says so gives to its program as 3, 4, …; a start with them has no birth.
   */
  async run(
    plan: Plan,
    connect: StartOptions["connect"] = this.#connect,
    descriptors: readonly number[] = [],
  ): Promise<Started> {
    this.#begun = true;
    const shim = this.#shim;
    try {
      shim.begin(plan.bytes, descriptors);
      let report = await shim.next();
      if (report?.kind === "network") {
        await connectOrEnd(shim, report.pid, connect);
        report = await shim.next();
      }
      if (report === null || report.kind !== "started") {
        throw new NativeError({ ok: false, step: "shim", op: "ended without a report", errno: ECONNRESET, path: "" });
      }
      const { kind: _kind, process: init, ...rest } = report;
      return { ...rest, init, watchEnd: () => shim.ended() };
    } catch (error) {
      shim.close();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#begun) return;
    this.#begun = true;
    await this.#shim.abandon();
  }
}

/** A start whose plan is there already. */
export async function start(plan: Plan, options: StartOptions = {}): Promise<Started> {
  await using prepared = new PreparedStart(options);
  return await prepared.run(plan);
}

/** A failed connection must leave nothing: the shim is told that nobody waits, undoes its work and ends. */
async function connectOrEnd(shim: Shim, pid: number, connect: StartOptions["connect"]): Promise<void> {
  try {
    await connect?.(pid);
    shim.proceed();
  } catch (error) {
    shim.hangUp();
    await shim.next().catch(() => null);
    throw error;
  }
}
