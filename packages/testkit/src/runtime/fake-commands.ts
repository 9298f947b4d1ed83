import type {
  ApplyShares,
  InstanceId,
  InstanceView,
  OpenExec,
  OpenLogs,
  RemoveShare,
  RemoveSnapshot,
  SharesApplied,
  SignalInstance,
  SnapshotId,
  TakenSnapshot,
  TakeSnapshot,
  VerifySnapshot,
  ViewInstance,
} from "@bulkhead/contracts";
import type { CommandContext, Subscription } from "@bulkhead/node";

type Handler<Body, Reply = void> = (body: Body, context: CommandContext) => Promise<Reply>;

/** The commands of a control plane in memory: an agent listens, a test sends. */
export class FakeCommands {
  #exec: Handler<OpenExec> | null = null;
  #logs: Handler<OpenLogs> | null = null;
  #signal: Handler<SignalInstance> | null = null;
  #view: Handler<ViewInstance, InstanceView> | null = null;
  #applyShares: Handler<ApplyShares, SharesApplied> | null = null;
  #removeShare: Handler<RemoveShare> | null = null;
  #takeSnapshot: Handler<TakeSnapshot, TakenSnapshot> | null = null;
  #verifySnapshot: Handler<VerifySnapshot> | null = null;
  #removeSnapshot: Handler<RemoveSnapshot> | null = null;

  onExec(handler: Handler<OpenExec>): Subscription {
    this.#exec = handler;
    return { unsubscribe: () => (this.#exec = null) };
  }

  onLogs(handler: Handler<OpenLogs>): Subscription {
    this.#logs = handler;
    return { unsubscribe: () => (this.#logs = null) };
  }

  onSignal(handler: Handler<SignalInstance>): Subscription {
    this.#signal = handler;
    return { unsubscribe: () => (this.#signal = null) };
  }

  onApplyShares(handler: Handler<ApplyShares, SharesApplied>): Subscription {
    this.#applyShares = handler;
    return { unsubscribe: () => (this.#applyShares = null) };
  }

  onRemoveShare(handler: Handler<RemoveShare>): Subscription {
    this.#removeShare = handler;
    return { unsubscribe: () => (this.#removeShare = null) };
  }

  onTakeSnapshot(handler: Handler<TakeSnapshot, TakenSnapshot>): Subscription {
    this.#takeSnapshot = handler;
    return { unsubscribe: () => (this.#takeSnapshot = null) };
  }

  onVerifySnapshot(handler: Handler<VerifySnapshot>): Subscription {
    this.#verifySnapshot = handler;
    return { unsubscribe: () => (this.#verifySnapshot = null) };
  }

  onRemoveSnapshot(handler: Handler<RemoveSnapshot>): Subscription {
    this.#removeSnapshot = handler;
    return { unsubscribe: () => (this.#removeSnapshot = null) };
  }

  onView(handler: Handler<ViewInstance, InstanceView>): Subscription {
    this.#view = handler;
    return { unsubscribe: () => (this.#view = null) };
  }

  /** Sends a command; rejects as the agent does, or when none listens. */
  async exec(open: OpenExec): Promise<void> {
    if (this.#exec === null) throw new Error("no agent");
    await this.#exec(open, {});
  }

  async logs(open: OpenLogs): Promise<void> {
    if (this.#logs === null) throw new Error("no agent");
    await this.#logs(open, {});
  }

  async signal(signal: SignalInstance): Promise<void> {
    if (this.#signal === null) throw new Error("no agent");
    await this.#signal(signal, {});
  }

  async applyShares(instanceId: InstanceId): Promise<SharesApplied> {
    if (this.#applyShares === null) throw new Error("no agent");
    return this.#applyShares({ instanceId }, {});
  }

  async removeShare(shareId: string): Promise<void> {
    if (this.#removeShare === null) throw new Error("no agent");
    await this.#removeShare({ shareId }, {});
  }

  async takeSnapshot(take: TakeSnapshot): Promise<TakenSnapshot> {
    if (this.#takeSnapshot === null) throw new Error("no agent");
    return this.#takeSnapshot(take, {});
  }

  async verifySnapshot(snapshotId: SnapshotId): Promise<void> {
    if (this.#verifySnapshot === null) throw new Error("no agent");
    await this.#verifySnapshot({ snapshotId }, {});
  }

  async removeSnapshot(snapshotId: SnapshotId): Promise<void> {
    if (this.#removeSnapshot === null) throw new Error("no agent");
    await this.#removeSnapshot({ snapshotId }, {});
  }

  async view(view: ViewInstance): Promise<InstanceView> {
    if (this.#view === null) throw new Error("no agent");
    return this.#view(view, {});
  }
}
