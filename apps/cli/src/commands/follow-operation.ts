import type { Client } from "@bulkhead/client";
import type { Instance, Operation, Problem } from "@bulkhead/contracts";
import { errors, fleetError, type ErrorCode } from "@bulkhead/contracts/errors";
import type { Invocation } from "../command.ts";
import { StatusLine } from "../output.ts";
import { explain } from "./instances.ts";

/** Between two looks at the instances while an operation runs, in milliseconds. */
const lookMs = 500;

const errorOf = (problem: Problem): Error => {
  const code: ErrorCode = problem.code in errors ? (problem.code as ErrorCode) : "INTERNAL";
  return fleetError(code, problem.detail, {
    fields: problem.hosts === undefined ? {} : { hosts: problem.hosts },
    cause: problem,
  });
};

/** `2 of 3 running; web-2 pending: host-a: …` */
export const describeInstances = (instances: readonly Instance[]): string => {
  const running = instances.filter(({ state }) => state === "running").length;
  const waiting = instances.find(({ state }) => state !== "running");
  const why = waiting === undefined ? "" : explain(waiting);
  const rest = waiting === undefined ? "" : `; ${waiting.name} ${waiting.state}${why === "" ? "" : `: ${why}`}`;
  return `${running} of ${instances.length} running${rest}`;
};

export interface Following {
  /** what goes on, for the progress line: "Starting web" */
  readonly doing: string;
  readonly operation: Operation;
  /** in milliseconds */
  readonly timeoutMs: number;
  /** what to show beside `doing`, asked twice a second */
  readonly look?: (client: Client) => Promise<string>;
}

/** Waits for an operation with a progress line. Throws its error, or WAIT_TIMEOUT with each host's reasons. */
export const followOperation = async (invocation: Invocation, following: Following): Promise<Operation> => {
  const client = invocation.client();
  const status = new StatusLine(invocation.stderr);
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, invocation.signal]);
  const show = async (): Promise<void> => {
    while (!signal.aborted) {
      const seen = await following.look?.(client).catch(() => "");
      if (signal.aborted) return;
      status.show(`${following.doing}… ${seen ?? ""}`.trimEnd());
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, lookMs);
        signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
      });
    }
  };
  const showing = following.operation.state === "running" ? show() : Promise.resolve();
  try {
    const ended =
      following.operation.state === "running"
        ? await client.operations.wait(following.operation.id, {
            timeoutMs: following.timeoutMs,
            signal: invocation.signal,
          })
        : following.operation;
    if (ended.state === "failed") {
      throw ended.error === null ? fleetError("INTERNAL", `${following.doing} failed.`) : errorOf(ended.error);
    }
    return ended;
  } finally {
    stop.abort();
    await showing;
    status.clear();
  }
};
