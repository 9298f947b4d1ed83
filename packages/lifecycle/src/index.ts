export { buckets, decide } from "./decide.ts";
export type { ActualRun, Bucket, InstanceMemory, InstanceView, KeepReason, Settled, Step } from "./decide.ts";
export { isFinal, reasonOf } from "./ending.ts";
export type { Ending } from "./ending.ts";
export { reconcile } from "./reconcile.ts";
export type { Buckets } from "./reconcile.ts";
export { afterEnd, backoffMs, maximumBackoffMs, settledAfterMs } from "./restart.ts";
export type { RestartAnswer, RestartQuestion } from "./restart.ts";
export { assertMove, canMove, drawMoves, moves } from "./states.ts";
