import { isFleetError } from "@bulkhead/contracts";
import { NotLeading } from "@bulkhead/inventory";

/** True for failures that are no message's fault: what came is as good as before when they are over. */
export const isPassing = (error: unknown): boolean =>
  error instanceof NotLeading || (isFleetError(error) && error.code === "DATABASE_UNAVAILABLE");
