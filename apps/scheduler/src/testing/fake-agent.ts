import { randomUUID } from "node:crypto";
import {
  type Assignment,
  type DocumentPosition,
  type HostCredential,
  type HostFacts,
  type HostId,
  type InstanceReport,
  type Isolation,
  type OpenExec,
  type OpenLogs,
  type SignalInstance,
  documentDigest,
  subjects,
} from "@bulkhead/contracts";
import { type Bus, connectBus, hostInboxPrefix } from "@bulkhead/bus";
import { WebSocket } from "ws";

/** A host of four CPUs and 8 GiB that enforces everything. */
export const testFacts = (facts: Partial<HostFacts> = {}): HostFacts => ({
  hostname: "test",
  kernel: "6.1.0",
  architecture: "x86_64",
  cgroupMode: "v2",
  capacity: { cpuMillis: 4_000, memoryBytes: 8 * 2 ** 30, cpuCount: 4, instancesMax: 1_000 },
  enforceable: ["resources", "network", "bandwidth"],
  mountAllowList: ["/srv/shared"],
  problems: [],
  ...facts,
});

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const heartbeatMs = 200;
const resendMs = 500;

interface Run {
  assignment: Assignment;
  attempt: number;
  state: InstanceReport["state"];
}

type Outcome = { readonly state: "running" } | Pick<InstanceReport, "state" | "reason" | "detail">;

export interface FakeAgentOptions {
  readonly credential: HostCredential;
  readonly seed: string;
  readonly hostId: HostId;
  readonly isolation?: Isolation;
  readonly facts?: HostFacts;
}

/** An agent that follows its document and reports, without running anything. */
export class FakeAgent implements AsyncDisposable {
  readonly hostId: HostId;
  readonly isolation: Isolation;
  readonly bus: Bus;
  /** what becomes of a start; running unless a test says otherwise */
  outcome: (assignment: Assignment) => Outcome = () => ({ state: "running" });
  /** serves an exec or log stream once its socket is open */
  onExec: (socket: WebSocket, command: OpenExec) => void = (socket) => socket.close(1000);
  onLogs: (socket: WebSocket, command: OpenLogs) => void = (socket) => socket.close(1000);
  readonly signals: SignalInstance[] = [];
  readonly runs = new Map<string, Run>();
  /** told with the next heartbeat */
  facts: HostFacts;
  readonly #journal = randomUUID();
  readonly #unacknowledged: InstanceReport[] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  #seq = 0;
  #position: DocumentPosition | null = null;
  #digest: string | null = null;
  #syncing: Promise<void> = Promise.resolve();

  private constructor(bus: Bus, options: FakeAgentOptions) {
    this.bus = bus;
    this.hostId = options.hostId;
    this.isolation = options.isolation ?? "container";
    this.facts = options.facts ?? testFacts();
  }

  static async start(options: FakeAgentOptions): Promise<FakeAgent> {
    const isolation = options.isolation ?? "container";
    const bus = await connectBus({
      url: options.credential.natsUrl,
      name: "fake-agent",
      jwt: options.credential.natsJwt,
      seed: options.seed,
      inboxPrefix: hostInboxPrefix(options.hostId, isolation),
      log: silent,
    });
    const agent = new FakeAgent(bus, options);
    agent.#listen();
    agent.#beat();
    await agent.sync();
    return agent;
  }

  get #address() {
    return { hostId: this.hostId, isolation: this.isolation };
  }

  #listen(): void {
    this.bus.subscribe(subjects.desiredChanged, this.#address, () => void this.sync());
    this.bus.subscribe(subjects.lease, this.#address, (grant) => {
      if (grant.refetch) void this.sync();
    });
    this.bus.subscribe(subjects.reportAck, this.#address, ({ upToSeq }) => {
      while ((this.#unacknowledged[0]?.seq ?? Infinity) <= upToSeq) this.#unacknowledged.shift();
    });
    this.bus.respond(subjects.openExec, this.#address, async (command) => this.#open(command, this.onExec));
    this.bus.respond(subjects.openLogs, this.#address, async (command) => this.#open(command, this.onLogs));
    this.bus.respond(subjects.signal, this.#address, async (command) => {
      this.signals.push(command);
      return {};
    });
    this.#timers.push(
      setInterval(() => this.#beat(), heartbeatMs),
      setInterval(() => this.#publish(this.#unacknowledged), resendMs),
    );
  }

  #beat(): void {
    this.bus.publish(subjects.heartbeat, this.#address, {
      ...this.#address,
      bootId: "boot",
      sentAtBoottimeNs: String(process.hrtime.bigint()),
      position: this.#position,
      digest: this.#digest,
      facts: this.facts,
      instances: this.runs.size,
      unknown: [],
      highestEra: this.#position?.era ?? 0,
    });
  }

  async #open<Command extends OpenExec | OpenLogs>(
    command: Command,
    serve: (socket: WebSocket, command: Command) => void,
  ): Promise<Record<string, never>> {
    const socket = new WebSocket(command.url, {
      headers: { authorization: `Bearer ${command.token}` },
      perMessageDeflate: false,
    });
    socket.on("error", () => undefined);
    socket.once("open", () => serve(socket, command));
    return {};
  }

  /** Fetches the whole document and follows it. */
  sync(): Promise<void> {
    this.#syncing = this.#syncing.then(() => this.#syncOnce()).catch(() => undefined);
    return this.#syncing;
  }

  async #syncOnce(): Promise<void> {
    const document = await this.bus.request(subjects.fetchDesired, this.#address, { have: null });
    this.#position = document.position;
    this.#digest = documentDigest(document.assignments, document.tombstones);
    for (const assignment of document.assignments) this.#follow(assignment);
    for (const { instanceId, epoch } of document.tombstones) {
      const run = this.runs.get(instanceId);
      if (run === undefined || run.state === "gone") continue;
      if (run.assignment.epoch.n !== epoch.n) continue;
      this.report(instanceId, { state: "gone" });
    }
  }

  #follow(assignment: Assignment): void {
    const { instanceId, desired, restartRequest, generation } = assignment;
    const run = this.runs.get(instanceId);
    if (run === undefined) {
      this.runs.set(instanceId, { assignment, attempt: 0, state: "assigned" });
      this.report(instanceId, { state: "starting" });
      this.report(instanceId, this.outcome(assignment));
      return;
    }
    const before = run.assignment;
    run.assignment = assignment;
    if (restartRequest > before.restartRequest) {
      run.attempt += 1;
      this.report(instanceId, { state: "starting" });
      this.report(instanceId, this.outcome(assignment));
    } else if (desired !== before.desired) {
      if (desired === "stopped") {
        this.report(instanceId, { state: "stopping" });
        this.report(instanceId, { state: "stopped", reason: "StoppedByUser" });
      } else this.report(instanceId, { state: desired });
    }
    if (generation > before.generation) {
      this.report(instanceId, { state: run.state, resize: { generation, outcome: "applied" } });
    }
  }

  /** Reports news of an instance; what it does not say is as usual for a healthy one. */
  report(instanceId: string, news: Partial<InstanceReport> & Pick<InstanceReport, "state">): void {
    const run = this.runs.get(instanceId);
    if (run === undefined) throw new Error(`no instance ${instanceId}`);
    run.state = news.state;
    this.#seq += 1;
    const report: InstanceReport = {
      seq: this.#seq,
      journal: this.#journal,
      instanceId: run.assignment.instanceId,
      epoch: run.assignment.epoch,
      attempt: run.attempt,
      generation: run.assignment.generation,
      reason: null,
      detail: null,
      exit: null,
      resize: null,
      contractHeld: true,
      restarts: run.attempt,
      at: new Date().toISOString(),
      ...news,
    };
    this.#unacknowledged.push(report);
    this.#publish([report]);
  }

  #publish(reports: readonly InstanceReport[]): void {
    if (reports.length === 0) return;
    this.bus.publish(subjects.report, this.#address, { ...this.#address, reports: reports.slice(0, 500) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.bus[Symbol.asyncDispose]();
  }
}
