import { type Operation, type Workload, type WorkloadSpec, fleetError, hasOwnNetwork } from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { isUniqueViolation } from "../failure.ts";
import { type Change, appendEvents, audit, newId } from "./change.ts";
import { holdKernel } from "./kernels.ts";
import { holdNetwork } from "./networks.ts";
import { getOperation, startOperation } from "./operations.ts";
import { addReplicas, dropReplicas, removeInstances } from "./replicas.ts";
import { reshapeInstances } from "./resize.ts";
import { type Reference, getWorkload, inProject, referenceValues } from "./workload-rows.ts";

export interface NewWorkload {
  readonly name: string;
  /** every default filled in */
  readonly spec: WorkloadSpec;
  readonly imageDigest: string;
}

// One statement: foreign keys are checked at its end, so parent and children may come together.
const insertWorkload = statement<{ placed: number }>(
  "api_workload_insert",
  `WITH owner AS (
     INSERT INTO project (name) VALUES ($2) ON CONFLICT (name) DO NOTHING
   ), image AS (
     -- Held until commit, so that the image cannot be deleted meanwhile.
     SELECT digest FROM image WHERE project = $2 AND digest = $5 FOR KEY SHARE
   ), added AS (
     INSERT INTO workload (id, project, name, spec, image_digest)
     SELECT $1, $2, $3, $4, digest FROM image RETURNING id
   )
   SELECT count(*)::int AS placed FROM added`,
);

/** Rejects NAME_TAKEN, IMAGE_UNAVAILABLE. */
const insert = async (sql: Sql, change: Change, wanted: NewWorkload & { readonly id: string }): Promise<void> => {
  const { id, name, spec, imageDigest } = wanted;
  const [row] = await sql
    .rows(insertWorkload, [id, change.project, name, JSON.stringify(spec), imageDigest])
    .catch((error: unknown) => {
      if (!isUniqueViolation(error)) throw error;
      throw fleetError("NAME_TAKEN", `Project ${change.project} already has a workload ${name}.`, { cause: error });
    });
  if (row?.placed === 1) return;
  throw fleetError("IMAGE_UNAVAILABLE", `Project ${change.project} no longer has the image ${spec.image}.`);
};

/**
 * Declares a workload with its instances, all pending. Rejects NAME_TAKEN, and IMAGE_UNAVAILABLE or KERNEL_UNKNOWN
 * when its image or kernel was deleted since it was looked up.
 */
export const createWorkload = async (sql: Sql, change: Change, wanted: NewWorkload): Promise<Operation> => {
  const id = newId();
  const { name, spec } = wanted;
  const count = spec.replicas ?? 1;
  if (hasOwnNetwork(spec)) await holdNetwork(sql, change.project, spec.network ?? "");
  if (spec.vm?.kernel !== undefined) await holdKernel(sql, change.project, spec.vm.kernel);
  // Sent together, answered in their order: when the first fails, the others fail with it and say less.
  const inserted = insert(sql, change, { ...wanted, id });
  const followed = Promise.all([
    startOperation(sql, change, {
      kind: "workload.create",
      target: { type: "workload", id },
      done: count === 0,
      expect: { generation: 1 },
    }),
    appendEvents(sql, change, [{ type: "workload.created", workloadId: id, data: { name, generation: 1 } }]),
    addReplicas(sql, change, { ...wanted, id, generation: 1 }, count),
    audit(sql, change, { verb: "workload.create", target: id, data: { name, spec } }),
  ]);
  followed.catch(() => undefined);
  await inserted;
  const [operation] = await followed;
  return operation;
};

const lockWorkload = statement<{ id: string; project: string }>(
  "api_workload_lock",
  `SELECT id, project FROM workload
   WHERE ($1::text IS NULL OR project = $1) AND (id = $2::uuid OR name = $3) FOR UPDATE`,
);

const updateWorkload = statement("api_workload_update", `UPDATE workload SET generation = $2, spec = $3 WHERE id = $1`);

/** The workload with its row locked until commit. Rejects NOT_FOUND, VERSION_MISMATCH. */
const locked = async (sql: Sql, wanted: Reference, ifGeneration: number | undefined): Promise<Workload> => {
  const [row] = await sql.rows(lockWorkload, referenceValues(wanted));
  if (row === undefined) {
    throw fleetError("NOT_FOUND", `There is no workload ${wanted.idOrName} ${inProject(wanted.project)}.`);
  }
  const workload = await getWorkload(sql, { project: row.project, idOrName: row.id });
  if (ifGeneration !== undefined && ifGeneration !== workload.generation) {
    throw fleetError(
      "VERSION_MISMATCH",
      `Workload ${workload.name} is at generation ${workload.generation}, not ${ifGeneration}.`,
    );
  }
  return workload;
};

export interface WorkloadUpdate {
  readonly workload: Reference;
  readonly ifGeneration?: number;
  /** the new specification from the present one; throws what is wrong with it */
  readonly revise: (workload: Workload) => WorkloadSpec;
}

const sameJson = (a: unknown, b: unknown): boolean => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

/** Members of a specification that its running instances must follow. */
const concernsInstances = (before: WorkloadSpec, after: WorkloadSpec): boolean =>
  !sameJson(before.resources, after.resources) ||
  !sameJson(before.restart, after.restart) ||
  !sameJson(before.stopGraceMs, after.stopGraceMs);

/**
 * Changes a workload and what follows from it: limits of its instances (live), replicas. Rejects NOT_FOUND,
 * VERSION_MISMATCH, STATE_CONFLICT while it is being deleted, LIMIT_INFEASIBLE when a host has not enough left.
 */
export const patchWorkload = async (
  sql: Sql,
  change: Change,
  update: WorkloadUpdate,
): Promise<{ workload: Workload; operation: Operation }> => {
  const before = await locked(sql, update.workload, update.ifGeneration);
  if (before.deleting) throw fleetError("STATE_CONFLICT", `Workload ${before.name} is being deleted.`);
  const spec = update.revise(before);
  const target = { type: "workload", id: before.id } as const;
  if (sameJson(spec, before.spec)) {
    const operation = await startOperation(sql, change, { kind: "workload.update", target, done: true });
    return { workload: before, operation };
  }
  const generation = before.generation + 1;
  const revised = { id: before.id, name: before.name, spec, imageDigest: before.imageDigest, generation };
  await sql.count(updateWorkload, [before.id, generation, JSON.stringify(spec)]);
  const delta = (spec.replicas ?? 1) - (before.spec.replicas ?? 1);
  // Fewer first: what they hold may make room, and they need no new limits.
  if (delta < 0) await dropReplicas(sql, change, revised, { count: -delta, graceMs: spec.stopGraceMs ?? 10_000 });
  const waiting = concernsInstances(before.spec, spec) ? await reshapeInstances(sql, change, revised) : 0;
  if (delta > 0) await addReplicas(sql, change, revised, delta);
  const [operation] = await Promise.all([
    startOperation(sql, change, {
      kind: "workload.update",
      target,
      done: delta === 0 && waiting === 0,
      expect: { generation },
    }),
    appendEvents(sql, change, [
      { type: "workload.updated", workloadId: before.id, data: { name: before.name, generation } },
    ]),
    audit(sql, change, { verb: "workload.update", target: before.id, data: { generation, spec } }),
  ]);
  return { workload: await getWorkload(sql, { project: null, idOrName: before.id }), operation };
};

const markDeleting = statement("api_workload_deleting", `UPDATE workload SET deleting = true WHERE id = $1`);
const deleteRow = statement("api_workload_delete", `DELETE FROM workload WHERE id = $1`);
const runningDelete = statement<{ id: string }>(
  "api_workload_deletion",
  `SELECT id FROM operation WHERE target_id = $1 AND kind = 'workload.delete' AND state = 'running' ORDER BY id LIMIT 1`,
);

export interface WorkloadDeletion {
  readonly workload: Reference;
  readonly ifGeneration?: number;
  /** how long instances may take to end; the workload's own `stopGraceMs` when absent */
  readonly graceMs?: number;
}

/**
 * Orders the end of a workload: its instances get tombstones, those on no host go at once, the row goes with the last.
 * Resolves to the operation, the same one while it lasts. Rejects NOT_FOUND, VERSION_MISMATCH.
 */
export const deleteWorkload = async (sql: Sql, change: Change, deletion: WorkloadDeletion): Promise<Operation> => {
  const workload = await locked(sql, deletion.workload, deletion.ifGeneration);
  if (workload.deleting) {
    const [same] = await sql.rows(runningDelete, [workload.id]);
    if (same !== undefined) return getOperation(sql, same.id, null);
  }
  await sql.count(markDeleting, [workload.id]);
  const graceMs = deletion.graceMs ?? workload.spec.stopGraceMs ?? 10_000;
  const left = await removeInstances(sql, change, { workloadId: workload.id, graceMs });
  await audit(sql, change, { verb: "workload.delete", target: workload.id, data: { name: workload.name, graceMs } });
  const operation = await startOperation(sql, change, {
    kind: "workload.delete",
    target: { type: "workload", id: workload.id },
    done: left === 0,
  });
  if (left === 0) {
    await sql.count(deleteRow, [workload.id]);
    await appendEvents(sql, change, [
      { type: "workload.deleted", workloadId: workload.id, data: { name: workload.name } },
    ]);
  }
  return operation;
};
