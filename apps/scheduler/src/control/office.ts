import type { Consumption, Subscription } from "@bulkhead/bus";
import { subjects } from "@bulkhead/contracts";
import { NotLeading } from "@bulkhead/inventory";
import { Documents } from "./documents.ts";
import { Duties } from "./duties.ts";
import { Era } from "./era.ts";
import { Heartbeats } from "./heartbeats.ts";
import { HostWatch } from "./host-watch.ts";
import { Placer } from "./placer.ts";
import type { ControlPorts, ControlTimes, Term } from "./ports.ts";
import { Relay } from "./relay.ts";
import { ReportFolder } from "./report-folder.ts";
import { ShareSettler } from "./share-settler.ts";
import { SnapshotSettler } from "./snapshot-settler.ts";
import { WorkLoop } from "./work-loop.ts";

const everyone = { hostId: "*", isolation: "*" } as const;
/** Events are published this much later, in milliseconds: mostly a report comes first, whose folding publishes them too. */
const publishSoonMs = 15;
/** Snapshots that were not taken or removed yet are asked for again this often, in milliseconds. */
const snapshotMs = 2_000;
/** Hosts that have not confirmed what was ordered of shares are asked again this often, in milliseconds. */
const shareMs = 2_000;

export interface OfficeParts {
  readonly ports: ControlPorts;
  readonly times: ControlTimes;
  readonly term: Term;
  /** a transaction found the term to be over */
  readonly onNotLeading: () => void;
}

/** Everything a leader does during one term: made when it begins, stopped when it is over. */
export class Office {
  readonly #parts: OfficeParts;
  readonly #duties: Duties;
  readonly #relay: Relay;
  readonly #heartbeats: Heartbeats;
  readonly #documents: Documents;
  readonly #folder: ReportFolder;
  readonly #loops: readonly WorkLoop[];
  readonly #place: WorkLoop;
  readonly #relaying: WorkLoop;
  readonly #events: WorkLoop;
  readonly #settling: WorkLoop;
  readonly #hearing: WorkLoop;
  readonly #snapshots: WorkLoop;
  readonly #subscriptions: Subscription[] = [];
  #consumption: Consumption | undefined;
  #publishing: NodeJS.Timeout | undefined;

  private constructor(parts: OfficeParts, watch: HostWatch, firstEra: number) {
    const { ports, times, term } = parts;
    this.#parts = parts;
    const onEra = (): void => {
      watch.reopenAccounts(ports.nowMs());
      this.#relaying.wake();
    };
    const era = new Era({ ports, term, era: firstEra, onChange: onEra });
    this.#relay = new Relay(ports, term, era);
    this.#documents = new Documents(ports, era);
    this.#heartbeats = new Heartbeats({
      ports,
      times,
      term,
      era,
      watch,
      documents: this.#documents,
      onChange: () => this.wake(),
    });
    this.#duties = new Duties({
      ports,
      times,
      term,
      watch,
      placer: new Placer({ ports, term, era, relay: this.#relay }),
    });
    this.#folder = new ReportFolder({
      ports,
      term,
      events: {
        folded: () => this.#published(),
        touched: (targets) => this.#touch(targets),
        freed: () => this.#place.wake(),
        failed: (error) => this.#failed(error),
      },
    });
    this.#events = this.#loop("events", async () => void (await this.#duties.publishEvents()));
    this.#relaying = this.#loop("relay", () => this.#relay.pass());
    this.#place = this.#loop("placement", async () => {
      if (await this.#duties.place()) this.#publishSoon();
    });
    this.#settling = this.#loop("operations", () => this.#duties.settleTouched());
    this.#hearing = this.#loop("heartbeats", () => this.#heartbeats.pass());
    const snapshots = new SnapshotSettler(ports, term, (error) => this.#failed(error));
    this.#snapshots = this.#loop("snapshots", () => snapshots.pass(), snapshotMs);
    this.#loops = [
      this.#events,
      this.#relaying,
      this.#place,
      this.#settling,
      this.#hearing,
      this.#snapshots,
      this.#loop("host watch", () => this.#watchHosts(), times.watchMs),
      // Apart from what was touched, which on a busy fleet never ends.
      this.#loop("all operations", () => this.#duties.settle(), times.settleMs),
      this.#loop("pulse", () => this.#pulse(), times.pulseMs),
      this.#loop("shares", () => new ShareSettler(ports, term).pass(), shareMs),
      this.#loop("retention", () => this.#duties.removeOld(), times.retentionMs),
    ];
  }

  /** Reads what a leader must know, then begins. Rejects DATABASE_UNAVAILABLE. */
  static async begin(parts: OfficeParts): Promise<Office> {
    const { ports, times, term } = parts;
    const [known, { era }] = await Promise.all([ports.store.readAgents(), ports.store.cluster()]);
    const office = new Office(parts, new HostWatch(times, term.startedAtMs, known), era);
    office.#open();
    office.wake();
    return office;
  }

  /** Something was written that placement and the relay should see now, and that may finish operations of `targets`. */
  wake(targets: readonly string[] = []): void {
    if (targets.length > 0) this.#touch(targets);
    this.#place.wake();
    this.#relaying.wake();
    this.#snapshots.wake();
    this.#publishSoon();
  }

  /** Stops intake, then lets what is under way finish. */
  async stop(): Promise<void> {
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    this.#published();
    await Promise.all([this.#consumption?.stop(), ...this.#loops.map((loop) => loop.stop())]);
  }

  #open(): void {
    const { bus } = this.#parts.ports;
    let flush: NodeJS.Timeout | undefined;
    this.#subscriptions.push(
      bus.subscribe(subjects.heartbeat, everyone, (heartbeat) => {
        this.#heartbeats.receive(heartbeat);
        flush ??= setTimeout(() => {
          flush = undefined;
          this.#hearing.wake();
        }, this.#parts.times.heartbeatFlushMs);
      }),
      bus.respond(subjects.fetchDesired, everyone, (wanted, { parameters }) =>
        this.#documents.fetch(parameters, wanted),
      ),
    );
    this.#consumption = bus.consume("reports", subjects.report, (batches) => this.#folder.fold(batches));
  }

  #loop(name: string, work: () => Promise<void>, everyMs?: number): WorkLoop {
    const { log } = this.#parts.ports;
    const onError = (error: unknown): void => this.#failed(error);
    return new WorkLoop(work, { name, log, onError, ...(everyMs === undefined ? {} : { everyMs }) });
  }

  #touch(targets: readonly string[]): void {
    this.#duties.touch(targets);
    this.#settling.wake();
  }

  #publishSoon(): void {
    this.#publishing ??= setTimeout(() => {
      this.#publishing = undefined;
      this.#events.wake();
    }, publishSoonMs);
  }

  /** Events were published on the way; one that was written just then is found by the next pulse. */
  #published(): void {
    clearTimeout(this.#publishing);
    this.#publishing = undefined;
  }

  #failed(error: unknown): void {
    if (error instanceof NotLeading) this.#parts.onNotLeading();
  }

  async #watchHosts(): Promise<void> {
    if (await this.#duties.watchHosts()) this.wake();
  }

  /** Finds what another scheduler's API wrote, or what was left when a process ended. */
  async #pulse(): Promise<void> {
    const waiting = await this.#parts.ports.store.pulse();
    if (waiting.events) this.#events.wake();
    if (waiting.outbox) this.#relaying.wake();
    if (waiting.pending) this.#place.wake();
  }
}
