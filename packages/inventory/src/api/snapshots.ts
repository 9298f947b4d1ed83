import {
  type Operation,
  type RestoreSnapshot,
  type Snapshot,
  type SnapshotId,
  type WorkloadSpec,
  fleetError,
} from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { promisedDiskBytes, snapshotBytes } from "../disk-promises.ts";
import { type Change, appendEvents, audit, newId } from "./change.ts";
import { getInstance } from "./instance-rows.ts";
import { startOperation } from "./operations.ts";
import { type Page, type PageRequest, afterId, isUuid, pageOf } from "./page.ts";
import { type Reference, inProject } from "./workload-rows.ts";
import { createWorkload } from "./workloads.ts";

type SnapshotRow = Omit<Snapshot, "createdAt"> & { readonly createdAt: Date };

const selectText = `
  SELECT s.id, s.project, s.workload_name AS "workloadName", s.instance_id AS "instanceId",
    s.instance_name AS "instanceName", s.image_digest AS "imageDigest", s.spec, s.host_id AS "hostId",
    h.name AS "hostName", s.engine, s.size_bytes::float8 AS "sizeBytes", s.state, s.problem, s.created_at AS "createdAt",
    (SELECT count(*)::int FROM workload w JOIN instance i ON i.workload_id = w.id
     WHERE w.spec #>> '{vm,restoredFrom,snapshotId}' = s.id::text) AS copies
  FROM snapshot s JOIN host h ON h.id = s.host_id`;

const toSnapshot = (row: SnapshotRow): Snapshot => ({ ...row, createdAt: row.createdAt.toISOString() });

const selectOne = statement<SnapshotRow>(
  "api_snapshot",
  `${selectText} WHERE ($1::text IS NULL OR s.project = $1) AND s.id = $2::uuid`,
);

/** By its id; it has no name. Rejects NOT_FOUND. */
export const getSnapshot = async (sql: Sql, { project, idOrName }: Reference): Promise<Snapshot> => {
  const [row] = isUuid(idOrName) ? await sql.rows(selectOne, [project, idOrName]) : [];
  if (row === undefined) throw fleetError("NOT_FOUND", `There is no snapshot ${idOrName} ${inProject(project)}.`);
  return toSnapshot(row);
};

const selectPage = statement<SnapshotRow>(
  "api_snapshot_page",
  `${selectText} WHERE ($1::text IS NULL OR s.project = $1) AND s.id > $2 ORDER BY s.id LIMIT $3`,
);

export const listSnapshots = async (sql: Sql, project: string | null, page: PageRequest): Promise<Page<Snapshot>> => {
  const rows = await sql.rows(selectPage, [project, afterId(page.cursor), page.limit + 1]);
  return pageOf(rows, page.limit, { item: toSnapshot, key: (row) => row.id });
};

const insertSnapshot = statement(
  "api_snapshot_insert",
  `WITH image AS (
     -- Held until commit, so that the image cannot be deleted meanwhile.
     SELECT digest FROM image m JOIN instance i ON i.project = m.project AND i.image_digest = m.digest
     WHERE i.id = $2 FOR KEY SHARE OF m
   )
   INSERT INTO snapshot (id, project, workload_name, instance_id, instance_name, image_digest, spec, host_id, operation_id)
   SELECT $1, i.project, w.name, i.id, i.name, image.digest, i.spec, i.host_id, $3
   FROM instance i JOIN workload w ON w.id = i.workload_id, image WHERE i.id = $2 AND i.host_id IS NOT NULL`,
);

const lockHost = statement(
  "api_snapshot_host_lock",
  `SELECT FROM host WHERE id = (SELECT host_id FROM instance WHERE id = $1) FOR NO KEY UPDATE`,
);
const selectRoom = statement<{
  hostName: string;
  freeBytes: number | null;
  promisedBytes: number;
  wantedBytes: number;
}>(
  "api_snapshot_room",
  `SELECT h.name AS "hostName", (a.facts #>> '{disk,freeBytes}')::float8 AS "freeBytes",
     ${promisedDiskBytes("h.id")}::float8 AS "promisedBytes", ${snapshotBytes("i.spec")}::float8 AS "wantedBytes"
   FROM instance i JOIN host h ON h.id = i.host_id JOIN host_agent a ON a.host_id = h.id AND a.isolation = 'vm'
   WHERE i.id = $1`,
);

const mib = (bytes: number): number => Math.ceil(bytes / 2 ** 20);

/** What its agent finds out before it lets anything stand still is known here mostly. Rejects SNAPSHOT_NO_ROOM. */
const assertRoom = async (sql: Sql, instanceId: string): Promise<void> => {
  // Held until commit, so that two of one host do not count on the same room.
  await sql.rows(lockHost, [instanceId]);
  const [room] = await sql.rows(selectRoom, [instanceId]);
  if (room === undefined || room.freeBytes === null) return;
  const { hostName, freeBytes, promisedBytes, wantedBytes } = room;
  const leftBytes = Math.max(0, freeBytes - promisedBytes);
  if (wantedBytes <= leftBytes) return;
  const had = `the disk of host ${hostName} has ${mib(freeBytes)} MiB, of which ${mib(promisedBytes)} MiB are promised`;
  const missing = `${mib(wantedBytes - leftBytes)} MiB are missing`;
  throw fleetError("SNAPSHOT_NO_ROOM", `It takes at least ${mib(wantedBytes)} MiB, and ${had}: ${missing}.`);
};

export interface NewSnapshot {
  readonly instance: Reference;
  readonly ifVersion?: number;
}

/**
 * Declares a snapshot of a running VM, which its host is then asked to take. Resolves to the operation. Rejects NOT_FOUND,
 * VERSION_MISMATCH, SNAPSHOT_UNSUPPORTED for a container, STATE_CONFLICT, SNAPSHOT_NO_ROOM.
 */
export const createSnapshot = async (sql: Sql, change: Change, wanted: NewSnapshot): Promise<Operation> => {
  const instance = await getInstance(sql, wanted.instance);
  const { id: instanceId, name, state, isolation, version } = instance;
  if (wanted.ifVersion !== undefined && wanted.ifVersion !== version) {
    throw fleetError("VERSION_MISMATCH", `${name} is at version ${version}, not ${wanted.ifVersion}.`);
  }
  if (isolation !== "vm") {
    throw fleetError("SNAPSHOT_UNSUPPORTED", `${name} is a container, of which no part can be taken to a file.`);
  }
  if (state !== "running") {
    throw fleetError("STATE_CONFLICT", `${name} is ${state}; only a running instance is taken to a snapshot.`);
  }
  await assertRoom(sql, instanceId);
  const id = newId();
  const owned = { ...change, project: instance.project };
  const operation = await startOperation(sql, owned, {
    kind: "snapshot.create",
    target: { type: "snapshot", id },
    done: false,
  });
  if ((await sql.count(insertSnapshot, [id, instanceId, operation.id])) === 0) {
    throw fleetError("STATE_CONFLICT", `${name} has no host any more, or its image is gone; read it again.`);
  }
  await audit(sql, owned, { verb: "snapshot.create", target: id, data: { instanceId, name } });
  return operation;
};

const lockForRestore = statement("api_snapshot_hold", `SELECT id FROM snapshot WHERE id = $1 FOR SHARE`);
const lockForDeletion = statement<{ verified: boolean }>(
  "api_snapshot_lock",
  `SELECT verify_operation_id IS NOT NULL AS verified FROM snapshot WHERE id = $1 FOR UPDATE`,
);
const selectUsers = statement<{ name: string }>(
  "api_snapshot_users",
  `SELECT name FROM workload WHERE spec #>> '{vm,restoredFrom,snapshotId}' = $1 ORDER BY name LIMIT 6`,
);
const markDeleting = statement("api_snapshot_deleting", `UPDATE snapshot SET state = 'deleting' WHERE id = $1`);
const deleteRow = statement("api_snapshot_delete", `DELETE FROM snapshot WHERE id = $1`);

/** Longest name of which an instance's name with a number of four digits can be made (RFC 1123). */
const nameLengthMax = 58;

/** `web` and the end of the snapshot's id, which is by chance. */
const copiesName = ({ workloadName, id }: Snapshot): string => {
  const ending = `-${id.slice(-6)}`;
  return `${workloadName.slice(0, nameLengthMax - ending.length).replace(/-+$/, "")}${ending}`;
};

/** As the original's, but on its host, and with no port of that host that only one can have. */
const specOfCopies = ({ id, hostId, spec, engine }: Snapshot, copies: number): WorkloadSpec => ({
  ...spec,
  replicas: copies,
  ports: (spec.ports ?? []).map((port) => {
    const { hostPort: _, ...anywhere } = port;
    return anywhere;
  }),
  vm: { ...spec.vm, ...(engine === null ? {} : { engine }), restoredFrom: { snapshotId: id, hostId } },
});

/**
 * Declares a workload whose instances begin as copies. Resolves to the operation. Rejects NOT_FOUND, STATE_CONFLICT when it
 * is not ready, SNAPSHOT_CORRUPT, NAME_TAKEN.
 */
export const restoreSnapshot = async (
  sql: Sql,
  change: Change,
  { snapshot: wanted, copies = 1, name }: RestoreSnapshot & { readonly snapshot: Reference },
): Promise<Operation> => {
  const { id } = await getSnapshot(sql, wanted);
  // Held until commit, so that it is not deleted meanwhile.
  await sql.rows(lockForRestore, [id]);
  const snapshot = await getSnapshot(sql, { project: null, idOrName: id });
  if (snapshot.state === "corrupt") throw fleetError("SNAPSHOT_CORRUPT", snapshot.problem?.detail ?? "");
  if (snapshot.state !== "ready") {
    throw fleetError("STATE_CONFLICT", `Snapshot ${id} is ${snapshot.state}; only one that is ready is restored.`);
  }
  return createWorkload(
    sql,
    { ...change, project: snapshot.project },
    { name: name ?? copiesName(snapshot), spec: specOfCopies(snapshot, copies), imageDigest: snapshot.imageDigest },
  );
};

/**
 * Deletes a snapshot that no workload was restored from; the row goes when its host has removed the files. Rejects
 * NOT_FOUND, STATE_CONFLICT while it is being taken or verified, SNAPSHOT_IN_USE.
 */
export const deleteSnapshot = async (sql: Sql, change: Change, wanted: Reference): Promise<Snapshot> => {
  const { id } = await getSnapshot(sql, wanted);
  const [locked] = await sql.rows(lockForDeletion, [id]);
  const snapshot = await getSnapshot(sql, { project: null, idOrName: id });
  if (snapshot.state === "creating") {
    throw fleetError("STATE_CONFLICT", `Snapshot ${id} is being taken; wait for its operation.`);
  }
  if (locked?.verified === true) {
    throw fleetError("STATE_CONFLICT", `Snapshot ${id} is being verified; wait for that.`);
  }
  const users = (await sql.rows(selectUsers, [id])).map(({ name }) => name);
  if (users.length > 0) {
    const named = users.length > 5 ? `${users.slice(0, 5).join(", ")} and more` : users.join(", ");
    throw fleetError("SNAPSHOT_IN_USE", `Snapshot ${id} is what ${named} began from.`);
  }
  await sql.count(markDeleting, [id]);
  await audit(sql, { ...change, project: snapshot.project }, { verb: "snapshot.delete", target: id });
  return { ...snapshot, state: "deleting" };
};

const askToVerify = statement(
  "api_snapshot_verify",
  `UPDATE snapshot SET verify_operation_id = $2
   WHERE id = $1 AND state IN ('ready', 'corrupt') AND verify_operation_id IS NULL`,
);

/**
 * Has its host read all of its files. Resolves to the operation. Rejects NOT_FOUND, STATE_CONFLICT when it is not there yet
 * or any more, and while it is verified already.
 */
export const verifySnapshot = async (sql: Sql, change: Change, wanted: Reference): Promise<Operation> => {
  const { id, project, state } = await getSnapshot(sql, wanted);
  const owned = { ...change, project };
  const target = { type: "snapshot", id } as const;
  const operation = await startOperation(sql, owned, { kind: "snapshot.verify", target, done: false });
  if ((await sql.count(askToVerify, [id, operation.id])) === 0) {
    throw fleetError("STATE_CONFLICT", `Snapshot ${id} is ${state}, or is being verified; wait for that.`);
  }
  await audit(sql, owned, { verb: "snapshot.verify", target: id });
  return operation;
};

/** Its files are gone from their host, and the row with them. */
export const forgetSnapshot = async (
  sql: Sql,
  { id, project }: { readonly id: SnapshotId; readonly project: string },
): Promise<void> => {
  if ((await sql.count(deleteRow, [id])) === 0) return;
  await appendEvents(sql, { project, traceId: null }, [{ type: "snapshot.deleted", data: { snapshotId: id } }]);
};
