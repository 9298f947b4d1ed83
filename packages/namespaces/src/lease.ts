import type { Assignment } from "@bulkhead/contracts";

/** Lease of a workload with `onLoss: replace` that names none; the schema's default. */
const defaultLeaseMs = 300_000;

/** How long an instance lives without contact, or null: it outlives everything. */
export const leaseMsOf = ({ spec }: Assignment): number | null =>
  spec.onLoss === "replace" ? (spec.leaseMs ?? defaultLeaseMs) : null;
