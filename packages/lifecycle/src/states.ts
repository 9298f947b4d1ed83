import { fleetError, instanceStates, type InstanceState } from "@bulkhead/contracts";

/**
 * Every legal move of an instance and why it happens. The scheduler folds reports by it, the agent reports along it, and
 * the README's table is made from it. "Found" moves are an agent's answer after its own restart or a lost report: the
 * kernel is the truth for what is, so what an agent finds must always be reachable.
 */
export const moves = {
  pending: {
    assigned: "a host was found",
    stopped: "stop asked before a host was found",
  },
  assigned: {
    pending: "the host was lost before it started",
    starting: "the agent begins",
    running: "found running",
    paused: "found paused",
    stopping: "found stopping",
    backoff: "found ended; tried again later",
    stopped: "stop asked before it started, or found ended",
    failed: "it cannot start",
    lost: "the host was lost",
  },
  starting: {
    pending: "the host was lost",
    running: "the entrypoint runs",
    paused: "found paused",
    stopping: "stop asked during the start",
    backoff: "the start failed; tried again later",
    stopped: "stop asked during the start",
    failed: "the start failed for good",
    lost: "the host was lost",
  },
  running: {
    pending: "the host was lost and it may be replaced",
    starting: "found starting again",
    paused: "pause asked",
    stopping: "stop or restart asked",
    backoff: "it ended; restarted later",
    stopped: "it ended and its policy is content",
    failed: "it ended and its policy gives up",
    lost: "the host or the lease was lost",
  },
  paused: {
    pending: "the host was lost and it may be replaced",
    starting: "found starting again",
    running: "resume asked",
    stopping: "stop or restart asked",
    backoff: "it was killed; restarted later",
    stopped: "it was killed and its policy is content",
    failed: "it was killed and its policy gives up",
    lost: "the host or the lease was lost",
  },
  stopping: {
    pending: "the host was lost and it may be replaced",
    starting: "the restart's second half",
    running: "found running: the stop did not happen",
    paused: "found paused: the stop did not happen",
    backoff: "found ended; restarted later",
    stopped: "it ended",
    failed: "found ended and its policy gives up",
    lost: "the host was lost",
  },
  backoff: {
    pending: "the host was lost and it may be replaced",
    starting: "the delay is over",
    running: "found running",
    paused: "found paused",
    stopping: "found stopping",
    stopped: "stop asked while it waited",
    failed: "its policy gives up",
    lost: "the host was lost",
  },
  stopped: {
    pending: "start asked and its host is gone",
    assigned: "placed again",
    starting: "start or restart asked",
    running: "found running",
    paused: "found paused",
    stopping: "found stopping",
    backoff: "the start failed; tried again later",
    failed: "the start failed for good",
    lost: "the host was lost",
  },
  failed: {
    pending: "restart asked and its host is gone",
    assigned: "placed again",
    starting: "restart asked",
    running: "found running",
    paused: "found paused",
    stopping: "found stopping",
    backoff: "the start failed; tried again later",
    stopped: "stop asked",
    lost: "the host was lost",
  },
  lost: {
    pending: "it may be replaced",
    assigned: "placed again",
    starting: "the host is back and starts it again",
    running: "the host is back and it runs",
    paused: "the host is back and it is paused",
    stopping: "the host is back and stops it",
    backoff: "the host is back; restarted later",
    stopped: "the host is back and it had ended",
    failed: "the host is back and its policy gives up",
  },
} as const satisfies Readonly<Record<InstanceState, Readonly<Partial<Record<InstanceState, string>>>>>;

/** True when `to` may follow `from`; staying is always allowed, as news without a change of state. */
export const canMove = (from: InstanceState, to: InstanceState): boolean => from === to || to in moves[from];

/** Rejects a move that the table does not have with STATE_CONFLICT. */
export const assertMove = (from: InstanceState, to: InstanceState): void => {
  if (canMove(from, to)) return;
  throw fleetError(
    "STATE_CONFLICT",
    `an instance cannot go from ${from} to ${to}; from ${from} it can go to ${Object.keys(moves[from]).join(", ")}`,
  );
};

/** The table as Markdown, one row per move; README.md holds exactly this. */
export const drawMoves = (): string =>
  [
    "| from | to | when |",
    "|---|---|---|",
    ...instanceStates.flatMap((from) =>
      Object.entries(moves[from]).map(([to, when]) => `| ${from} | ${to} | ${when} |`),
    ),
  ].join("\n");
