import type { ReportBatch } from "@bulkhead/contracts";
import type { Sql } from "../database.ts";
import * as statements from "./fold-statements.ts";
import { queueReports, type FoldedPosition, type Queue } from "./report-queue.ts";

/** What an agent may forget now. */
export interface Acknowledgement {
  readonly hostId: string;
  readonly isolation: string;
  readonly journal: string;
  readonly upToSeq: number;
}

/** An agent's reports that come next, and the position before them. */
export interface AgentQueue extends Queue {
  readonly hostId: string;
  readonly isolation: string;
  readonly before: FoldedPosition;
}

const agentKey = (agent: { hostId: string; isolation: string }): string => `${agent.hostId} ${agent.isolation}`;

/** The agents of some batches, each once, as `selectPositions` takes them. */
export const agentsOf = (batches: readonly ReportBatch[]): [hostIds: string[], isolations: string[]] => {
  const agents = [...new Map(batches.map((batch) => [agentKey(batch), batch])).values()];
  return [agents.map(({ hostId }) => hostId), agents.map(({ isolation }) => isolation)];
};

export const queuesOf = (
  batches: readonly ReportBatch[],
  positions: readonly statements.PositionRow[],
): AgentQueue[] => {
  const byAgent = Map.groupBy(batches, agentKey);
  // Reports of a host that never joined this control plane are nobody's: they stay with the agent.
  return positions.map(({ hostId, isolation, journal, foldedSeq }) => {
    const before = { journal, foldedSeq };
    const mine = byAgent.get(agentKey({ hostId, isolation })) ?? [];
    return { ...queueReports(mine, before), hostId, isolation, before };
  });
};

/** Writes how far each queue is read. Rejects, to be run again, when another folder was faster. */
export const movePositions = async (sql: Sql, queues: readonly AgentQueue[]): Promise<void> => {
  const moved = queues.filter(
    ({ position, before }) => position.journal !== before.journal || position.foldedSeq !== before.foldedSeq,
  );
  if (moved.length === 0) return;
  const written = await sql.rows(statements.movePositions, [
    moved.map((queue) => queue.hostId),
    moved.map((queue) => queue.isolation),
    moved.map((queue) => queue.position.journal),
    moved.map((queue) => queue.position.foldedSeq),
    moved.map((queue) => queue.before.journal),
    moved.map((queue) => queue.before.foldedSeq),
  ]);
  // As a serialization failure, so that the whole batch is read and folded again on the new position.
  if (written.length !== moved.length) throw Object.assign(new Error("another folder was faster"), { code: "40001" });
};

export const acknowledgementsOf = (queues: readonly AgentQueue[]): Acknowledgement[] =>
  queues.map(({ hostId, isolation, position }) => ({
    hostId,
    isolation,
    journal: position.journal,
    upToSeq: position.foldedSeq,
  }));
