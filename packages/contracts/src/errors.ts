import { kernelErrors } from "./kernel-errors.ts";
import { networkErrors } from "./network-errors.ts";
import type { Problem } from "./problem.ts";
import { sizeErrors } from "./size-errors.ts";
import { snapshotErrors } from "./snapshot-errors.ts";
import { storable } from "./text.ts";

interface ErrorRow {
  /** HTTP status this code answers with */
  readonly status: number;
  /** true when the same request may succeed later unchanged */
  readonly retry: boolean;
  readonly title: string;
  /** what the reader should do; shown in docs/errors.md */
  readonly remedy: string;
}

/** The one error table: every failure a user can see has a row; docs/errors.md is made from it. */
export const errors = {
  REQUEST_INVALID: {
    status: 400,
    retry: false,
    title: "The request is malformed",
    remedy: "Correct the fields named in `errors`.",
  },
  UNAUTHENTICATED: {
    status: 401,
    retry: false,
    title: "No valid token",
    remedy: "Send `Authorization: Bearer TOKEN`; `up` wrote an admin token for this machine's CLI.",
  },
  FORBIDDEN: {
    status: 403,
    retry: false,
    title: "The token may not do this",
    remedy: "Use a token whose role covers the project and the verb.",
  },
  NOT_FOUND: {
    status: 404,
    retry: false,
    title: "No such object",
    remedy: "Check the id or name and the project (`Bulkhead-Project`).",
  },
  METHOD_NOT_ALLOWED: {
    status: 405,
    retry: false,
    title: "Method not allowed",
    remedy: "See /v1/openapi.json for this path's methods.",
  },
  WAIT_TIMEOUT: {
    status: 408,
    retry: true,
    title: "The awaited state was not reached in time",
    remedy: "Wait again, or look at the object's reason.",
  },
  NAME_TAKEN: {
    status: 409,
    retry: false,
    title: "The name is in use in this project",
    remedy: "Choose another name or delete the other object.",
  },
  STATE_CONFLICT: {
    status: 409,
    retry: false,
    title: "Not possible in the object's present state",
    remedy: "Read the object; act when its state allows it.",
  },
  ...kernelErrors,
  ...networkErrors,
  ...snapshotErrors,
  ...sizeErrors,
  IMAGE_IN_USE: {
    status: 409,
    retry: false,
    title: "The image is in use",
    remedy: "Delete the workloads that use it first.",
  },
  SHARE_IN_USE: {
    status: 409,
    retry: false,
    title: "The share is in use",
    remedy: "Detach it from the instances that `detail` names, or delete their workloads.",
  },
  NAMESPACE_FIXED: {
    status: 409,
    retry: false,
    title: "Namespaces are entered at the start and left at the end",
    remedy: "Name the share in the specification of a new workload; to take it away, delete the workload.",
  },
  SHARE_ELSEWHERE: {
    status: 409,
    retry: false,
    title: "The share lies on another host",
    remedy: "A running instance stays where it is; run it where the share lies, or use another share.",
  },
  PLAN_STALE: {
    status: 409,
    retry: true,
    title: "The fleet changed while this was decided",
    remedy: "Repeat the request.",
  },
  CURSOR_EXPIRED: { status: 410, retry: false, title: "The cursor is too old", remedy: "List again from the start." },
  VERSION_MISMATCH: {
    status: 412,
    retry: false,
    title: "The object changed since it was read",
    remedy: "Read it again and repeat with the new ETag.",
  },
  MEDIA_TYPE_UNSUPPORTED: {
    status: 415,
    retry: false,
    title: "Media type not supported",
    remedy: "Use the media type named in `detail`.",
  },
  IDEMPOTENCY_MISMATCH: {
    status: 422,
    retry: false,
    title: "Idempotency-Key was used with another body",
    remedy: "Use a new key for a new request.",
  },
  FIELD_NOT_APPLICABLE: {
    status: 422,
    retry: false,
    title: "The field does not apply to this isolation",
    remedy: "Remove it or change `isolation`.",
  },
  LIMIT_INFEASIBLE: {
    status: 422,
    retry: false,
    title: "The limit cannot work",
    remedy: "Use the value in `nearestFeasible`.",
  },
  MOUNT_NOT_ALLOWED: {
    status: 422,
    retry: false,
    title: "The host path may not be mounted",
    remedy: "Add it to the agent's local allow-list (`BULKHEAD_MOUNT_ALLOW`) on the host.",
  },
  IMAGE_INVALID: {
    status: 422,
    retry: false,
    title: "The image is not a valid OCI image or archive",
    remedy: "Rebuild or export it again; `detail` says what is wrong.",
  },
  IMAGE_DIGEST_MISMATCH: {
    status: 422,
    retry: false,
    title: "Content does not match its digest",
    remedy: "The archive is corrupt; export it again.",
  },
  IMAGE_UNAVAILABLE: {
    status: 404,
    retry: true,
    title: "The image is not there",
    remedy: "Import it with `bulkhead images import`.",
  },
  IMAGE_PLATFORM_MISSING: {
    status: 422,
    retry: false,
    title: "The image does not exist for this fleet's machines",
    remedy: "Use an image that has the platform named in `detail`.",
  },
  IMAGE_REFUSED: {
    status: 403,
    retry: false,
    title: "The image policy refuses the image",
    remedy: "Sign the image, or have the fleet's operator change the image policy.",
  },
  REGISTRY_DENIED: {
    status: 403,
    retry: false,
    title: "The registry denies access",
    remedy: "Check the name; give the scheduler credentials with `bulkhead registry login`.",
  },
  REGISTRY_UNAVAILABLE: {
    status: 503,
    retry: true,
    title: "The registry does not answer as it should",
    remedy: "Repeat the pull later; what has arrived is kept. `detail` has the registry's last answer.",
  },
  RATE_LIMITED: { status: 429, retry: true, title: "Too many requests", remedy: "Wait `retryAfterMs`." },
  NO_CAPACITY: {
    status: 409,
    retry: true,
    title: "No host can take it",
    remedy: "See the reason of each host in `hosts`.",
  },
  HOST_UNREACHABLE: {
    status: 503,
    retry: true,
    title: "The host's agent does not answer",
    remedy: "Look at `bulkhead hosts`; the instance itself keeps running.",
  },
  RUNTIME_FAILED: {
    status: 500,
    retry: false,
    title: "The runtime failed",
    remedy: "`detail` names the step and the kernel's answer.",
  },
  EXEC_FAILED: {
    status: 422,
    retry: false,
    title: "The command could not be started",
    remedy: "Check that the program exists in the image and is executable.",
  },
  DATABASE_UNAVAILABLE: {
    status: 503,
    retry: true,
    title: "The database does not answer",
    remedy: "Instances keep running; retry when Postgres is back.",
  },
  BUS_UNAVAILABLE: {
    status: 503,
    retry: true,
    title: "The message bus does not answer",
    remedy: "Instances keep running; retry when NATS is back.",
  },
  OVERLOADED: { status: 503, retry: true, title: "The service is overloaded", remedy: "Wait `retryAfterMs`." },
  API_UNREACHABLE: {
    status: 503,
    retry: true,
    title: "The API does not answer",
    remedy: "Start the fleet with `npm run up`, or name another API with `bulkhead context set`.",
  },
  CONFIG_INVALID: {
    status: 500,
    retry: false,
    title: "The configuration is invalid",
    remedy: "Correct the keys named in `detail`.",
  },
  SETUP_FAILED: {
    status: 500,
    retry: false,
    title: "A set-up step failed",
    remedy: "`detail` says which and what to do.",
  },
  INTERNAL: { status: 500, retry: false, title: "An unexpected error", remedy: "Report it with the trace id." },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof errors;

/** Extra members of the problem document that an error carries. */
export type ErrorFields = Partial<Pick<Problem, "errors" | "hosts" | "nearestFeasible" | "retryAfterMs">>;

/** The only error class that crosses a boundary; transports map it by `code`. */
export class FleetError extends Error {
  readonly code: ErrorCode;
  readonly fields: ErrorFields;

  constructor(code: ErrorCode, detail: string, options: { fields?: ErrorFields; cause?: unknown } = {}) {
    super(detail, options.cause === undefined ? {} : { cause: options.cause });
    this.name = "FleetError";
    this.code = code;
    this.fields = options.fields ?? {};
  }
}

/** `detail` says what happened, why, and what to do. */
export const fleetError = (
  code: ErrorCode,
  detail: string,
  options: { fields?: ErrorFields; cause?: unknown } = {},
): FleetError => new FleetError(code, detail, options);

/** True for our errors, also across package copies. */
export const isFleetError = (value: unknown): value is FleetError =>
  value instanceof Error &&
  value.name === "FleetError" &&
  "code" in value &&
  typeof value.code === "string" &&
  value.code in errors;

/** RFC 9457 document of an error; unknown errors become INTERNAL without leaking their text. */
export const toProblem = (error: unknown, context: { instance?: string; traceId?: string } = {}): Problem => {
  const known = isFleetError(error);
  const code: ErrorCode = known ? error.code : "INTERNAL";
  const row = errors[code];
  // It may be kept in the database, and quote a stranger: a registry, a guest.
  return storable({
    type: `https://bulkhead.dev/errors#${code.toLowerCase()}`,
    title: row.title,
    status: row.status,
    code,
    detail: known ? error.message : "An unexpected error; the service's log has it under this trace id.",
    ...(known ? error.fields : {}),
    ...(context.instance === undefined ? {} : { instance: context.instance }),
    ...(context.traceId === undefined ? {} : { traceId: context.traceId }),
  });
};
