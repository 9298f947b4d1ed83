import { defaultRestartPolicy, type InstanceReason, type RestartPolicy } from "@bulkhead/contracts";
import { isFinal } from "./ending.ts";

/** Longest delay between two runs, in milliseconds. */
export const maximumBackoffMs = 300_000;
/** A run that lasted this long, in milliseconds, ends a row of failures: the next delay is the first again. */
export const settledAfterMs = 600_000;

export interface RestartQuestion {
  readonly policy: RestartPolicy | undefined;
  readonly reason: InstanceReason;
  readonly exitCode: number | null;
  readonly detail: string | null;
  /** how long the run lasted, in milliseconds; 0 when it never began */
  readonly ranMs: number;
  /** restarts by policy so far in this assignment */
  readonly restarts: number;
  /** runs in a row that ended before `settledAfterMs` */
  readonly streak: number;
}

export type RestartAnswer =
  | {
      readonly kind: "settled";
      readonly state: "stopped" | "failed";
      readonly reason: InstanceReason;
      readonly detail: string | null;
    }
  | {
      readonly kind: "again";
      readonly state: "backoff" | "lost";
      readonly delayMs: number;
      readonly restarts: number;
      readonly streak: number;
      readonly reason: InstanceReason;
      readonly detail: string | null;
    };

const describe = ({ reason, exitCode, detail }: RestartQuestion): string => {
  const how = reason === "Exited" ? `exited with code ${exitCode ?? "unknown"}` : reason;
  return detail === null ? how : `${how}: ${detail}`;
};

/** Delay before the next run after `streak` short runs, in milliseconds. */
export const backoffMs = (policy: RestartPolicy, streak: number): number =>
  Math.min((policy.backoffMs ?? defaultRestartPolicy.backoffMs ?? 1_000) * 2 ** Math.min(streak, 30), maximumBackoffMs);

/** What follows the end of a run, or a start that failed. Total: every reason has an answer. */
export const afterEnd = (question: RestartQuestion): RestartAnswer => {
  const { reason, detail, restarts } = question;
  const policy = question.policy ?? defaultRestartPolicy;
  const streak = question.ranMs >= settledAfterMs ? 0 : question.streak;
  const settled = (state: "stopped" | "failed"): RestartAnswer => ({ kind: "settled", state, reason, detail });

  if (reason === "StoppedByUser") return settled("stopped");
  if (isFinal(reason)) return settled("failed");
  // It may have been started elsewhere by now; only a new lease may start it again here, and then at once.
  if (reason === "LeaseExpired") return { kind: "again", state: "lost", delayMs: 0, restarts, streak, reason, detail };
  // It never ran, so no policy about restarts applies: the image may appear.
  if (reason === "ImageUnavailable") {
    const delayMs = backoffMs(policy, streak);
    return { kind: "again", state: "backoff", delayMs, restarts, streak: streak + 1, reason, detail };
  }

  const clean = reason === "Exited" && question.exitCode === 0;
  if (policy.policy === "never" || (policy.policy === "on-failure" && clean))
    return settled(clean ? "stopped" : "failed");
  if (policy.maxRestarts !== undefined && restarts >= policy.maxRestarts) {
    const tried = restarts === 1 ? "1 restart" : `${restarts} restarts`;
    return {
      kind: "settled",
      state: "failed",
      reason: "CrashLoop",
      detail: `gave up after ${tried}; last: ${describe(question)}`,
    };
  }
  // The machine's fault, not the program's: no delay, and no step up.
  if (reason === "HostRebooted") {
    return { kind: "again", state: "backoff", delayMs: 0, restarts: restarts + 1, streak: 0, reason, detail };
  }
  const delayMs = backoffMs(policy, streak);
  return { kind: "again", state: "backoff", delayMs, restarts: restarts + 1, streak: streak + 1, reason, detail };
};
