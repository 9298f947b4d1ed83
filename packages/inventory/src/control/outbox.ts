import type { DocumentVersion } from "./commit-plan.ts";
import { statement, type Sql } from "../database.ts";

export interface OutboxRow extends DocumentVersion {
  readonly seq: number;
}

const selectOutbox = statement<OutboxRow>(
  "control_outbox",
  `SELECT seq, host_id AS "hostId", isolation, version FROM outbox ORDER BY seq LIMIT $1`,
);

const deleteOutbox = statement("control_outbox_delete", `DELETE FROM outbox WHERE seq = ANY($1::int8[])`);

const deleteUpTo = statement(
  "control_outbox_delete_up_to",
  `DELETE FROM outbox o USING unnest($1::uuid[], $2::text[], $3::int8[]) AS d(host_id, isolation, version)
   WHERE o.host_id = d.host_id AND o.isolation = d.isolation AND o.version <= d.version`,
);

/** Documents whose agents have not been told of their change, oldest first. */
export const readOutbox = (sql: Sql, limit: number): Promise<OutboxRow[]> => sql.rows(selectOutbox, [limit]);

/** Forgets rows by number, after their agents were told. */
export const clearOutbox = async (sql: Sql, rows: readonly OutboxRow[]): Promise<void> => {
  if (rows.length > 0) await sql.count(deleteOutbox, [rows.map((row) => row.seq)]);
};

/** Forgets what these versions include: who knows a later version need not hear of an earlier one. */
export const clearOutboxUpTo = async (sql: Sql, documents: readonly DocumentVersion[]): Promise<void> => {
  if (documents.length === 0) return;
  await sql.count(deleteUpTo, [
    documents.map((document) => document.hostId),
    documents.map((document) => document.isolation),
    documents.map((document) => document.version),
  ]);
};
