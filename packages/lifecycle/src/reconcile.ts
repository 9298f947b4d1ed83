import type { InstanceId } from "@bulkhead/contracts";
import { buckets, decide, type Bucket, type InstanceView, type Step } from "./decide.ts";

export type Buckets = Readonly<Record<Bucket, ReadonlyMap<InstanceId, Step>>>;

/** A whole host, desired against actual: every instance that either side knows, in exactly one bucket. */
export const reconcile = (views: Iterable<InstanceView>, nowMs: number): Buckets => {
  const filled = Object.fromEntries(buckets.map((bucket) => [bucket, new Map<InstanceId, Step>()])) as Record<
    Bucket,
    Map<InstanceId, Step>
  >;
  for (const view of views) {
    const step = decide(view, nowMs);
    filled[step.bucket].set(view.instanceId, step);
  }
  return filled;
};
