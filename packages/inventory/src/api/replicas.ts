import type { WorkloadSpec } from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { type Change, appendEvents, newIds } from "./change.ts";
import { buryDocuments } from "../document-changes.ts";
import { declareShares } from "./share-uses.ts";

/** What instances take from their workload. */
export interface WorkloadShape {
  readonly id: string;
  readonly name: string;
  readonly spec: WorkloadSpec;
  readonly imageDigest: string;
  readonly generation: number;
}

/** Name of one copy; the slot is always there, so that a second replica changes no name. */
export const instanceName = (workload: string, slot: number): string => `${workload}-${slot}`;

const takenSlots = statement<{ slot: number }>(
  "api_replica_slots",
  `SELECT slot FROM instance WHERE workload_id = $1 ORDER BY slot`,
);

const insertInstances = statement(
  "api_replica_insert",
  `INSERT INTO instance (id, project, workload_id, slot, name, isolation, generation, spec, image_digest, traceparent)
   SELECT n.id, $1, $2, n.slot, n.name, $3, $4, $5, $6, $7
   FROM unnest($8::uuid[], $9::int[], $10::text[]) AS n(id, slot, name)`,
);

const freeSlots = (taken: readonly number[], count: number): number[] => {
  const used = new Set(taken);
  const free: number[] = [];
  for (let slot = 0; free.length < count; slot += 1) if (!used.has(slot)) free.push(slot);
  return free;
};

/** Adds pending instances on the lowest free slots. Needs the workload's row locked or new. */
export const addReplicas = async (sql: Sql, change: Change, workload: WorkloadShape, count: number): Promise<void> => {
  if (count === 0) return;
  const taken = workload.generation === 1 ? [] : await sql.rows(takenSlots, [workload.id]);
  const slots = freeSlots(
    taken.map((row) => row.slot),
    count,
  );
  const added = newIds(count).flatMap((id, at) => {
    const slot = slots[at];
    return slot === undefined ? [] : [{ id, slot, name: instanceName(workload.name, slot) }];
  });
  const { spec } = workload;
  await Promise.all([
    sql.count(insertInstances, [
      change.project,
      workload.id,
      spec.isolation ?? "container",
      workload.generation,
      JSON.stringify(spec),
      workload.imageDigest,
      change.traceparent,
      added.map((instance) => instance.id),
      added.map((instance) => instance.slot),
      added.map((instance) => instance.name),
    ]),
    declareShares(sql, change.project, { instanceIds: added.map(({ id }) => id), shares: spec.shares ?? [] }),
    appendEvents(
      sql,
      change,
      added.map((instance) => ({
        type: "instance.created",
        workloadId: workload.id,
        instanceId: instance.id,
        data: { name: instance.name, slot: instance.slot },
      })),
    ),
  ]);
};

const lockInstances = statement<{ id: string; name: string; slot: number }>(
  "api_replica_lock",
  `SELECT id, name, slot FROM instance WHERE workload_id = $1 AND NOT removing ORDER BY id FOR UPDATE`,
);

const markRemoving = statement(
  "api_replica_removing",
  `UPDATE instance SET removing = true, version = version + 1 WHERE id = ANY($1::uuid[])`,
);
const deleteInstances = statement("api_replica_delete", `DELETE FROM instance WHERE id = ANY($1::uuid[])`);
const countInstances = statement<{ left: number }>(
  "api_replica_count",
  `SELECT count(*)::int AS left FROM instance WHERE workload_id = $1`,
);

interface Leaving {
  readonly workloadId: string;
  readonly instances: readonly { readonly id: string; readonly name: string }[];
  readonly graceMs: number;
}

const remove = async (sql: Sql, change: Change, { workloadId, instances, graceMs }: Leaving): Promise<void> => {
  const buried = await buryDocuments(
    sql,
    instances.map(({ id }) => id),
    graceMs,
  );
  const assigned = instances.filter(({ id }) => buried.has(id));
  const homeless = instances.filter(({ id }) => !buried.has(id));
  if (assigned.length > 0) await sql.count(markRemoving, [assigned.map(({ id }) => id)]);
  if (homeless.length === 0) return;
  await sql.count(deleteInstances, [homeless.map(({ id }) => id)]);
  await appendEvents(
    sql,
    change,
    homeless.map(({ id, name }) => ({ type: "instance.removed", workloadId, instanceId: id, data: { name } })),
  );
};

/**
 * Removes all instances of a workload: tombstones for those on a host, the others go at once. Resolves to the number
 * of rows that wait for their agents.
 */
export const removeInstances = async (
  sql: Sql,
  change: Change,
  { workloadId, graceMs }: { workloadId: string; graceMs: number },
): Promise<number> => {
  const instances = await sql.rows(lockInstances, [workloadId]);
  if (instances.length > 0) await remove(sql, change, { workloadId, instances, graceMs });
  return (await sql.rows(countInstances, [workloadId]))[0]?.left ?? 0;
};

/** Removes the instances with the highest slots. */
export const dropReplicas = async (
  sql: Sql,
  change: Change,
  workload: WorkloadShape,
  { count, graceMs }: { count: number; graceMs: number },
): Promise<void> => {
  const all = await sql.rows(lockInstances, [workload.id]);
  const instances = all.sort((a, b) => b.slot - a.slot).slice(0, count);
  if (instances.length > 0) await remove(sql, change, { workloadId: workload.id, instances, graceMs });
};
