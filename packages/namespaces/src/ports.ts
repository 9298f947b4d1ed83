import type { Assignment } from "@bulkhead/contracts";
import type { EnsuredImage } from "@bulkhead/images";

/** Where images come from; the store of packages/images with the scheduler behind it, or a test's. */
export interface ImageSource {
  /** Makes the assignment's image ready. Rejects FleetError (IMAGE_…) or StartFailure. */
  ensure(assignment: Assignment, signal: AbortSignal): Promise<EnsuredImage>;
}

/** Constant messages, data in fields; a pino logger fits. */
export interface RuntimeLog {
  warn(fields: object, message: string): void;
}
