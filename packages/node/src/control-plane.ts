import type {
  ApplyShares,
  DesiredChanged,
  DesiredDocument,
  DocumentPosition,
  Heartbeat,
  InstanceView,
  LeaseGrant,
  OpenExec,
  OpenLogs,
  ReportAck,
  RemoveShare,
  RemoveSnapshot,
  ReportBatch,
  SharesApplied,
  SignalInstance,
  TakenSnapshot,
  TakeSnapshot,
  UsageBatch,
  VerifySnapshot,
  ViewInstance,
} from "@bulkhead/contracts";

export interface Subscription {
  unsubscribe(): void;
}

/** Trace context of a command, W3C `traceparent`, when its sender had one. */
export interface CommandContext {
  readonly traceparent?: string | undefined;
}

/**
 * What an agent needs of whatever controls it. Everything may be lost, late, repeated or reordered; nothing here may
 * block an instance. Messages up (`heartbeat`, `report`, `usage`) may be dropped silently while there is no connection.
 * Command handlers throw FleetErrors, which reach the sender.
 */
export interface ControlPlane {
  /** The document, whole when `have` is null. Rejects when nobody answers. */
  fetchDesired(have: DocumentPosition | null): Promise<DesiredDocument>;
  heartbeat(heartbeat: Heartbeat): void;
  report(batch: ReportBatch): void;
  usage(batch: UsageBatch): void;
  onChanged(listener: (changed: DesiredChanged) => void): Subscription;
  onLease(listener: (grant: LeaseGrant) => void): Subscription;
  onReportAck(listener: (ack: ReportAck) => void): Subscription;
  onExec(handler: (open: OpenExec, context: CommandContext) => Promise<void>): Subscription;
  onLogs(handler: (open: OpenLogs, context: CommandContext) => Promise<void>): Subscription;
  onSignal(handler: (signal: SignalInstance, context: CommandContext) => Promise<void>): Subscription;
  onApplyShares(handler: (apply: ApplyShares, context: CommandContext) => Promise<SharesApplied>): Subscription;
  onRemoveShare(handler: (remove: RemoveShare, context: CommandContext) => Promise<void>): Subscription;
  onTakeSnapshot(handler: (take: TakeSnapshot, context: CommandContext) => Promise<TakenSnapshot>): Subscription;
  onVerifySnapshot(handler: (verify: VerifySnapshot, context: CommandContext) => Promise<void>): Subscription;
  onRemoveSnapshot(handler: (remove: RemoveSnapshot, context: CommandContext) => Promise<void>): Subscription;
  onView(handler: (view: ViewInstance, context: CommandContext) => Promise<InstanceView>): Subscription;
}
