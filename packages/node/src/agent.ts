import type { ClusterId, HostFacts, HostId } from "@bulkhead/contracts";
import type { Clock, Timer } from "./clock.ts";
import type { ControlPlane, Subscription } from "./control-plane.ts";
import { DesiredStore } from "./desired-store.ts";
import { DocumentSync } from "./document-sync.ts";
import { heartbeatOf } from "./heartbeats.ts";
import { readHostUsage, type HostUsage } from "./host-usage.ts";
import { InstanceSet } from "./instance-set.ts";
import { Journal } from "./journal.ts";
import { Lease } from "./lease.ts";
import type { LeasePage } from "./lease-page.ts";
import { Ledger } from "./ledger.ts";
import { Limiter } from "./limiter.ts";
import type { Log } from "./log.ts";
import { silentObserver, type AgentObserver } from "./observer.ts";
import { Reporter } from "./reporter.ts";
import type { Runtime } from "./runtime.ts";
import type { Storage } from "./storage.ts";
import { Commands } from "./streams/commands.ts";
import { sampleOf } from "./usage-sampler.ts";

const heartbeatMs = 2_000;
const usageMs = 5_000;
/** Samples of one message: about half of NATS's default payload limit of 1 MiB. */
const usageBatchSize = 400;
const factsMs = 30_000;
/** Without an answer to heartbeats for this long, the document is asked for by itself, in milliseconds. */
const silentLeaderMs = 10_000;
/** How long a new agent waits for the newest document before it obeys the one on its disk, in milliseconds. */
const firstFetchMs = 2_000;
/** How long steps in progress may take when the agent stops, in milliseconds; a stop with a long grace is left to the next. */
const restMs = 5_000;

export interface AgentOptions {
  readonly hostId: HostId;
  readonly hostName: string;
  /** whom the host joined; a document on disk outranks it */
  readonly clusterId: ClusterId;
  /** /proc/sys/kernel/random/boot_id */
  readonly bootId: string;
  readonly runtime: Runtime;
  readonly controlPlane: ControlPlane;
  readonly clock: Clock;
  /** the host's state directory; files are named by isolation, so that two agents may share it */
  readonly storage: Storage;
  /** this agent's own page: each agent's contact counts for its own instances only */
  readonly leasePage: LeasePage;
  readonly log: Log;
  /** makes a journal's id */
  readonly newId: () => string;
  readonly observer?: AgentObserver;
  readonly hostUsage?: () => HostUsage;
  /** how often every instance's contract is read back from the kernel, in milliseconds; default 30 s */
  readonly contractMs?: number;
  /** starts that run at once; default 16 */
  readonly startLimit?: number;
}

/** One host's agent for one isolation: makes what is be what should be, and tells what is. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #store: DesiredStore;
  readonly #ledger: Ledger;
  readonly #journal: Journal;
  readonly #reporter: Reporter;
  readonly #lease: Lease;
  readonly #instances: InstanceSet;
  readonly #sync: DocumentSync;
  readonly #commands: Commands;
  readonly #subscriptions: Subscription[] = [];
  readonly #timers = new Map<string, Timer>();
  #facts: HostFacts;
  #answeredAtNs = 0n;
  #begun = false;
  #stopped = false;

  private constructor(
    options: AgentOptions,
    parts: { store: DesiredStore; ledger: Ledger; journal: Journal; facts: HostFacts },
  ) {
    const { clock, controlPlane, runtime, log, hostId } = options;
    this.#options = options;
    this.#store = parts.store;
    this.#ledger = parts.ledger;
    this.#journal = parts.journal;
    this.#facts = parts.facts;
    this.#lease = new Lease(options.leasePage, clock);
    this.#reporter = new Reporter({
      journal: parts.journal,
      controlPlane,
      clock,
      hostId,
      isolation: runtime.isolation,
    });
    this.#instances = new InstanceSet(parts.store, {
      runtime,
      ledger: parts.ledger,
      reporter: this.#reporter,
      lease: this.#lease,
      clock,
      log,
      observer: options.observer ?? silentObserver,
      starts: new Limiter(options.startLimit ?? 16),
      stopped: () => this.#stopped,
    });
    this.#sync = new DocumentSync({
      controlPlane,
      store: parts.store,
      clock,
      log,
      // The first document is handed out when it is known which is the newest to be had.
      accepted: (touched) => (this.#begun ? this.#instances.want(touched) : undefined),
    });
    this.#commands = new Commands({ instances: this.#instances, runtime, clock, log });
  }

  /**
   * Takes over what a previous agent left: runs, journal, document. Resolves when the first decisions are made. Rejects
   * when the state directory cannot be read or the runtime cannot say what runs.
   */
  static async start(options: AgentOptions): Promise<Agent> {
    const { storage, clock, log, runtime, clusterId, newId } = options;
    const kind = runtime.isolation;
    const [{ ledger, damaged: lostMemory }, { journal, damaged: lostReports }, store, runs, facts] = await Promise.all([
      Ledger.open({ storage, clock, name: `epochs/${kind}.log` }),
      Journal.open({ storage, clock, name: `journal/${kind}.log`, newId }),
      DesiredStore.open({ storage, clock, name: `desired.${kind}.json`, clusterId }),
      runtime.list(),
      runtime.facts(),
    ]);
    if (lostMemory + lostReports > 0) log.warn({ lostMemory, lostReports }, "state directory had damaged records");
    const agent = new Agent(options, { store, ledger, journal, facts });
    agent.#instances.found(runs);
    agent.#listen();
    await agent.#firstDocument();
    agent.#begin();
    return agent;
  }

  /** Lets go of everything within a few seconds; instances keep running. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    for (const timer of this.#timers.values()) timer.cancel();
    this.#sync.close();
    this.#commands.close();
    this.#instances.release();
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const deadline = this.#options.clock.after(restMs, resolve);
    await Promise.race([Promise.all([...this.#instances.all].map((driver) => driver.rest())), late]);
    deadline.cancel();
    this.#reporter.close();
    await Promise.all([this.#journal.close(), this.#ledger.close(), this.#store.close()]);
    this.#options.leasePage.close();
  }

  /** What keeps the host from being as wanted; also in every heartbeat. */
  get problems(): string[] {
    const disk = [this.#journal.problem, this.#ledger.problem, this.#store.problem].filter((text) => text !== null);
    return [
      ...new Set(disk.map((text) => `state directory: ${text}`)),
      ...(this.#sync.problem === null ? [] : [this.#sync.problem]),
      ...this.#instances.problems,
    ];
  }

  /** Instances with something running. */
  get living(): number {
    return this.#instances.living;
  }

  #listen(): void {
    const { controlPlane, clock, runtime } = this.#options;
    this.#subscriptions.push(
      controlPlane.onChanged((changed) => this.#sync.changed(changed)),
      controlPlane.onReportAck((ack) => this.#reporter.acknowledge(ack)),
      controlPlane.onLease((grant) => {
        const { renewed, refetch } = this.#lease.answer(grant, this.#store.digest);
        this.#answeredAtNs = clock.boottimeNs();
        if (renewed) this.#instances.wakeAll(({ step }) => step?.bucket === "keep" && step.why === "lease");
        if (refetch) void this.#refetch();
      }),
      controlPlane.onExec(async (open) => this.#commands.exec(open)),
      controlPlane.onLogs(async (open) => this.#commands.logs(open)),
      controlPlane.onSignal(async (signal) => this.#commands.signal(signal)),
      controlPlane.onApplyShares(async ({ instanceId }) => {
        // The order is in the document; without the newest one an old order would be carried out.
        await this.#sync.refresh();
        return this.#commands.applyShares(instanceId);
      }),
      controlPlane.onRemoveShare(({ shareId }) => runtime.removeShare(shareId)),
      controlPlane.onTakeSnapshot((take) => this.#commands.takeSnapshot(take)),
      controlPlane.onVerifySnapshot((verify) => this.#commands.verifySnapshot(verify)),
      controlPlane.onRemoveSnapshot(({ snapshotId }) => runtime.removeSnapshot(snapshotId)),
      controlPlane.onView((view) => this.#commands.view(view)),
    );
  }

  async #firstDocument(): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const deadline = this.#options.clock.after(firstFetchMs, resolve);
    await Promise.race([this.#sync.refresh(), late]);
    deadline.cancel();
  }

  #begin(): void {
    this.#begun = true;
    this.#reporter.start();
    this.#instances.want(this.#store.instanceIds);
    const { position } = this.#store;
    const fields = { position, reports: this.#journal.pending, instances: this.#instances.summary };
    this.#options.log.info(fields, "agent takes over");
    this.#instances.wakeAll(() => true);
    this.#heartbeat();
    this.#every("heartbeat", heartbeatMs, () => {
      this.#heartbeat();
      const { clock } = this.#options;
      const lastNs = this.#answeredAtNs > this.#sync.askedAtNs ? this.#answeredAtNs : this.#sync.askedAtNs;
      if (clock.boottimeNs() - lastNs > BigInt(silentLeaderMs) * 1_000_000n) void this.#sync.refresh();
    });
    this.#every("usage", usageMs, () => this.#sample());
    this.#every("contract", this.#options.contractMs ?? 30_000, () => void this.#checkContracts());
    this.#every("facts", factsMs, () => void this.#readFacts());
  }

  #every(name: string, periodMs: number, action: () => void): void {
    const again = (): void => {
      if (this.#stopped) return;
      action();
      this.#timers.set(name, this.#options.clock.after(periodMs, again));
    };
    this.#timers.set(name, this.#options.clock.after(periodMs, again));
  }

  /** A new document is confirmed by a heartbeat at once, for starts that need that; one that did not come is not. */
  async #refetch(): Promise<void> {
    const before = this.#store.digest;
    await this.#sync.refresh();
    if (this.#store.digest !== before) this.#heartbeat();
  }

  #heartbeat(): void {
    if (this.#stopped) return;
    const { hostId, bootId, clock, runtime, controlPlane, observer } = this.#options;
    const heartbeat = heartbeatOf({
      hostId,
      bootId,
      clock,
      isolation: runtime.isolation,
      store: this.#store,
      ledger: this.#ledger,
      instances: this.#instances,
      facts: this.#facts,
      problems: this.problems,
    });
    this.#lease.sent(heartbeat.sentAtBoottimeNs, heartbeat.digest);
    controlPlane.heartbeat(heartbeat);
    observer?.journalPending(this.#journal.pending);
  }

  #sample(): void {
    const { hostId, hostName, clock, runtime, controlPlane, log, hostUsage } = this.#options;
    const instances = [...this.#instances.all].flatMap((driver) => sampleOf(driver, log) ?? []);
    const host = { ...(hostUsage ?? readHostUsage)(), instances: this.#instances.living };
    const at = new Date(clock.now()).toISOString();
    const batches = Math.max(1, Math.ceil(instances.length / usageBatchSize));
    for (let nth = 0; nth < batches; nth += 1) {
      const samples = instances.slice(nth * usageBatchSize, (nth + 1) * usageBatchSize);
      controlPlane.usage({ hostId, hostName, isolation: runtime.isolation, at, host, instances: samples });
    }
  }

  /** One instance per turn of the event loop: each check reads a dozen kernel files. */
  async #checkContracts(): Promise<void> {
    for (const driver of this.#instances.all) {
      if (this.#stopped) return;
      this.#instances.check(driver);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #readFacts(): Promise<void> {
    try {
      this.#facts = await this.#options.runtime.facts();
    } catch (error) {
      this.#options.log.warn({ err: error }, "host facts not read");
    }
  }
}
