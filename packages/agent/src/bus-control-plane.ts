import type { Bus } from "@bulkhead/bus";
import {
  fleetError,
  subjects,
  type BodyOf,
  type DesiredDocument,
  type DocumentPosition,
  type Heartbeat,
  type HostId,
  type Isolation,
  type MessageSubject,
  type ReplyOf,
  type ReportBatch,
  type RequestSubject,
  type UsageBatch,
} from "@bulkhead/contracts";
import type { CommandContext, ControlPlane, Log, Subscription } from "@bulkhead/node";
import { readPages } from "./document-pages.ts";

type Attach = (bus: Bus) => Subscription;

interface Listener {
  readonly attach: Attach;
  attached: Subscription | null;
}

/**
 * The control plane as messages on the bus, limited to one host's and kind's subjects. It works before there is a
 * connection: messages up are dropped, what listens is attached when the bus arrives.
 */
export class BusControlPlane implements ControlPlane {
  readonly #parameters: { hostId: HostId; isolation: Isolation };
  readonly #log: Log;
  readonly #listeners = new Set<Listener>();
  #bus: Bus | null = null;
  #heardAt = performance.now();

  constructor(options: { hostId: HostId; isolation: Isolation; log: Log }) {
    this.#parameters = { hostId: options.hostId, isolation: options.isolation };
    this.#log = options.log;
  }

  /** The connection is there; it heals by itself from now on. */
  connected(bus: Bus): void {
    this.#bus = bus;
    for (const listener of this.#listeners) listener.attached = listener.attach(bus);
  }

  /** How long the leader has not answered a heartbeat although the bus is there, in milliseconds. */
  get silentMs(): number {
    if (this.#bus?.connected !== true) this.#heardAt = performance.now();
    return performance.now() - this.#heardAt;
  }

  async fetchDesired(have: DocumentPosition | null): Promise<DesiredDocument> {
    const bus = this.#bus;
    if (bus === null) throw fleetError("BUS_UNAVAILABLE", "the bus is not connected yet");
    return readPages((after) => bus.request(subjects.fetchDesired, this.#parameters, { have, after }));
  }

  heartbeat(heartbeat: Heartbeat): void {
    this.#publish(subjects.heartbeat, heartbeat);
  }

  report(batch: ReportBatch): void {
    this.#publish(subjects.report, batch);
  }

  usage(batch: UsageBatch): void {
    this.#publish(subjects.usage, batch);
  }

  onChanged(listener: Parameters<ControlPlane["onChanged"]>[0]): Subscription {
    return this.#listen((bus) => bus.subscribe(subjects.desiredChanged, this.#parameters, listener));
  }

  onLease(listener: Parameters<ControlPlane["onLease"]>[0]): Subscription {
    return this.#listen((bus) =>
      bus.subscribe(subjects.lease, this.#parameters, (grant) => {
        this.#heardAt = performance.now();
        listener(grant);
      }),
    );
  }

  onReportAck(listener: Parameters<ControlPlane["onReportAck"]>[0]): Subscription {
    return this.#listen((bus) => bus.subscribe(subjects.reportAck, this.#parameters, listener));
  }

  onExec(handler: Parameters<ControlPlane["onExec"]>[0]): Subscription {
    return this.#answer(subjects.openExec, handler);
  }

  onLogs(handler: Parameters<ControlPlane["onLogs"]>[0]): Subscription {
    return this.#answer(subjects.openLogs, handler);
  }

  onSignal(handler: Parameters<ControlPlane["onSignal"]>[0]): Subscription {
    return this.#answer(subjects.signal, handler);
  }

  onApplyShares(handler: Parameters<ControlPlane["onApplyShares"]>[0]): Subscription {
    return this.#answer(subjects.applyShares, handler);
  }

  onRemoveShare(handler: Parameters<ControlPlane["onRemoveShare"]>[0]): Subscription {
    return this.#answer(subjects.removeShare, handler);
  }

  onTakeSnapshot(handler: Parameters<ControlPlane["onTakeSnapshot"]>[0]): Subscription {
    return this.#answer(subjects.takeSnapshot, handler);
  }

  onVerifySnapshot(handler: Parameters<ControlPlane["onVerifySnapshot"]>[0]): Subscription {
    return this.#answer(subjects.verifySnapshot, handler);
  }

  onRemoveSnapshot(handler: Parameters<ControlPlane["onRemoveSnapshot"]>[0]): Subscription {
    return this.#answer(subjects.removeSnapshot, handler);
  }

  onView(handler: Parameters<ControlPlane["onView"]>[0]): Subscription {
    return this.#answer(subjects.view, handler);
  }

  /** A message that does not fit its schema is our own mistake; it must not take the agent's timers with it. */
  #publish<Subject extends MessageSubject>(subject: Subject, body: BodyOf<Subject>): void {
    try {
      this.#bus?.publish(subject, this.#parameters, body);
    } catch (err) {
      this.#log.error({ err, subject: subject.pattern }, "message not sent");
    }
  }

  /** A handler without an answer of its own answers that the command was accepted. */
  #answer<Subject extends RequestSubject>(
    subject: Subject,
    handler: (body: BodyOf<Subject>, context: CommandContext) => Promise<ReplyOf<Subject> | void>,
  ): Subscription {
    return this.#listen((bus) =>
      bus.respond<RequestSubject>(
        subject,
        this.#parameters,
        async (body, { traceparent }) => (await handler(body as BodyOf<Subject>, { traceparent })) ?? {},
      ),
    );
  }

  #listen(attach: Attach): Subscription {
    const listener: Listener = { attach, attached: this.#bus === null ? null : attach(this.#bus) };
    this.#listeners.add(listener);
    return {
      unsubscribe: () => {
        this.#listeners.delete(listener);
        listener.attached?.unsubscribe();
      },
    };
  }
}
