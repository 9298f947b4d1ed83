import {
  fleetError,
  type ErrorCode,
  type FleetError,
  type OperationKind,
  type ResizeStatus,
} from "@bulkhead/contracts";

/** An operation with its target's instances counted by how far they are. */
export interface OperationView {
  readonly id: string;
  readonly kind: Exclude<OperationKind, "image.import" | "image.pull" | "snapshot.create" | "snapshot.verify">;
  readonly project: string;
  readonly targetType: string;
  readonly targetId: string;
  readonly progress: string | null;
  readonly traceId: string | null;
  readonly workloadExists: boolean;
  readonly workloadDeleting: boolean;
  /** instances of the target */
  readonly total: number;
  /** of them, those that have reached what the operation waits for */
  readonly reached: number;
  /** of them, those that no host can take */
  readonly refused: number;
  /** the first instance that cannot reach it any more */
  readonly failure: {
    readonly name: string;
    readonly reason: string | null;
    readonly detail: string | null;
    readonly resize: ResizeStatus | null;
  } | null;
}

export type Outcome =
  | { readonly state: "succeeded"; readonly progress: string | null }
  | { readonly state: "failed"; readonly progress: string | null; readonly error: FleetError }
  | { readonly state: "running"; readonly progress: string | null };

const succeeded = (progress: string | null = null): Outcome => ({ state: "succeeded", progress });
const failed = (code: ErrorCode, detail: string): Outcome => ({
  state: "failed",
  progress: null,
  error: fleetError(code, detail),
});

/** Error codes that say more than RUNTIME_FAILED about why an instance failed. */
const codes: Readonly<Record<string, ErrorCode>> = {
  ImageUnavailable: "IMAGE_UNAVAILABLE",
  ImageInvalid: "IMAGE_INVALID",
  MountNotAllowed: "MOUNT_NOT_ALLOWED",
  EntrypointNotFound: "EXEC_FAILED",
  EntrypointNotExecutable: "EXEC_FAILED",
  EntrypointWrongFormat: "EXEC_FAILED",
  SnapshotCorrupt: "SNAPSHOT_CORRUPT",
};

const instanceFailure = ({ failure }: OperationView): Outcome | undefined => {
  if (failure === null) return undefined;
  if (failure.resize?.outcome === "infeasible") {
    return failed("LIMIT_INFEASIBLE", `${failure.name}: ${failure.resize.detail ?? "the limit cannot be applied"}`);
  }
  const reason = failure.reason ?? "failed";
  return failed(
    codes[reason] ?? "RUNTIME_FAILED",
    `${failure.name}: ${reason}${failure.detail === null ? "" : `: ${failure.detail}`}`,
  );
};

const waiting = ({ total, reached, refused }: OperationView): string =>
  `${reached} of ${total} instances${refused === 0 ? "" : `; no host can take ${refused}`}`;

const forWorkload = (view: OperationView): Outcome => {
  if (!view.workloadExists || view.workloadDeleting) {
    return failed("STATE_CONFLICT", "The workload was deleted before this was done.");
  }
  const failure = instanceFailure(view);
  if (failure !== undefined) return failure;
  return view.reached === view.total ? succeeded() : { state: "running", progress: waiting(view) };
};

const forInstance = (view: OperationView): Outcome => {
  if (view.total === 0) return failed("NOT_FOUND", "The instance was removed before this was done.");
  if (view.reached > 0) return succeeded();
  const { failure } = view;
  if (failure !== null && (view.kind === "instance.pause" || view.kind === "instance.resume")) {
    return failed(
      "STATE_CONFLICT",
      `${failure.name} ended before this was done (${failure.reason ?? "no reason given"}).`,
    );
  }
  return instanceFailure(view) ?? { state: "running", progress: view.progress };
};

/** Whether an operation is done, has failed, or goes on, and what it waits for. Pure. */
export const outcomeOf = (view: OperationView): Outcome => {
  switch (view.kind) {
    case "workload.create":
    case "workload.update":
      return forWorkload(view);
    case "workload.delete":
      return view.workloadExists ? { state: "running", progress: `${view.total} instances are left` } : succeeded();
    case "instance.stop":
    case "instance.kill":
      return view.total === 0 || view.reached > 0 ? succeeded() : { state: "running", progress: view.progress };
    case "instance.restart":
    case "instance.pause":
    case "instance.resume":
      return forInstance(view);
    default: {
      const never: never = view.kind;
      return never;
    }
  }
};
