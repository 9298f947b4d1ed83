import { type Operation, type OperationKind, type Problem, fleetError } from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { type Change, appendEvents, newId } from "./change.ts";

interface OperationRow {
  readonly id: string;
  readonly project: string;
  readonly kind: OperationKind;
  readonly state: Operation["state"];
  readonly targetType: string;
  readonly targetId: string;
  readonly progress: string | null;
  readonly layers: Operation["layers"];
  readonly error: Problem | null;
  readonly traceId: string | null;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
}

const columns = `id, project, kind, state, target_type AS "targetType", target_id AS "targetId", progress, layers, error,
  trace_id AS "traceId", created_at AS "createdAt", finished_at AS "finishedAt"`;

const toOperation = ({ targetType, targetId, ...row }: OperationRow): Operation => ({
  ...row,
  id: row.id as Operation["id"],
  target: { type: targetType, id: targetId },
  createdAt: row.createdAt.toISOString(),
  finishedAt: row.finishedAt?.toISOString() ?? null,
});

const insertOperation = statement<OperationRow>(
  "api_operation_insert",
  `INSERT INTO operation (id, project, kind, state, target_type, target_id, expect, trace_id, finished_at)
   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $4 = 'running' THEN NULL ELSE now() END)
   RETURNING ${columns}`,
);

export interface NewOperation {
  readonly kind: OperationKind;
  readonly target: { readonly type: "workload" | "instance" | "image" | "snapshot"; readonly id: string };
  /** nothing is left to wait for */
  readonly done: boolean;
  /** what must be reached besides the kind's own condition */
  readonly expect?: { readonly generation?: number; readonly attempt?: number };
}

/** Writes an operation; the leader's report folder finishes it unless `done`, and a pull's holder a pull. */
export const startOperation = async (sql: Sql, change: Change, wanted: NewOperation): Promise<Operation> => {
  const { kind, target, done } = wanted;
  const [row] = await sql.rows(insertOperation, [
    newId(),
    change.project,
    kind,
    done ? "succeeded" : "running",
    target.type,
    target.id,
    JSON.stringify(wanted.expect ?? {}),
    change.traceId,
  ]);
  if (row === undefined) throw new Error("no row came back");
  if (done) await finished(sql, change, row.id, wanted);
  return toOperation(row);
};

const finished = (sql: Sql, change: Change, id: string, { kind, target }: NewOperation): Promise<void> =>
  appendEvents(sql, change, [
    {
      type: "operation.finished",
      ...(target.type === "workload" ? { workloadId: target.id } : {}),
      ...(target.type === "instance" ? { instanceId: target.id } : {}),
      data: { operationId: id, kind, state: "succeeded" },
    },
  ]);

const selectOperation = statement<OperationRow>("api_operation", `SELECT ${columns} FROM operation WHERE id = $1`);

/** `project` null reads every project's. Rejects NOT_FOUND. */
export const getOperation = async (sql: Sql, id: string, project: string | null): Promise<Operation> => {
  const [row] = await sql.rows(selectOperation, [id]);
  if (row === undefined || (project !== null && row.project !== project)) {
    throw fleetError("NOT_FOUND", `There is no operation ${id}.`);
  }
  return toOperation(row);
};
