import {
  instanceSharesMax,
  type AttachShare,
  type Share,
  type ShareMount,
  type SharesApplied,
  fleetError,
} from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { changeDocuments } from "../document-changes.ts";
import { type PinnedShare, mountedShares, sharesColumn } from "../share-columns.ts";
import { type Change, appendEvents, audit } from "./change.ts";
import { getShare } from "./shares.ts";
import { type Reference, inProject, referenceValues } from "./workload-rows.ts";

const declareUses = statement(
  "api_share_declare",
  `INSERT INTO share_use (instance_id, share_id, path, read_only)
   SELECT i.id, s.id, w.path, w.read_only
   FROM unnest($1::uuid[]) AS i(id)
   CROSS JOIN unnest($3::text[], $4::text[], $5::bool[]) AS w(name, path, read_only)
   JOIN share s ON s.project = $2 AND s.name = w.name AND NOT s.deleting`,
);

/** Notes what new instances will see. Rejects NOT_FOUND for a share that is not there, or is being deleted. */
export const declareShares = async (
  sql: Sql,
  project: string,
  { instanceIds, shares }: { readonly instanceIds: readonly string[]; readonly shares: readonly ShareMount[] },
): Promise<void> => {
  if (shares.length === 0 || instanceIds.length === 0) return;
  const noted = await sql.count(declareUses, [
    instanceIds,
    project,
    shares.map(({ share }) => share),
    shares.map(({ path }) => path ?? null),
    shares.map(({ readOnly }) => readOnly ?? true),
  ]);
  if (noted === instanceIds.length * shares.length) return;
  throw fleetError(
    "NOT_FOUND",
    `Project ${project} has not all of the shares ${shares.map(({ share }) => share).join(", ")}.`,
  );
};

interface LockedInstance {
  readonly id: string;
  readonly name: string;
  readonly project: string;
  readonly workloadId: string;
  readonly isolation: "container" | "vm";
  readonly removing: boolean;
  /** host of the assignment in force */
  readonly hostId: string | null;
}

const lockInstance = statement<LockedInstance>(
  "api_share_instance",
  `SELECT i.id, i.name, i.project, i.workload_id AS "workloadId", i.isolation, i.removing,
     (SELECT a.host_id FROM assignment a WHERE a.instance_id = i.id AND NOT a.tombstone) AS "hostId"
   FROM instance i WHERE ($1::text IS NULL OR i.project = $1) AND (i.id = $2::uuid OR i.name = $3) FOR UPDATE OF i`,
);
const selectShares = statement<{ shares: PinnedShare[] }>(
  "api_share_of_instance",
  `SELECT ${sharesColumn} FROM instance i WHERE i.id = $1`,
);

const locked = async (sql: Sql, wanted: Reference): Promise<LockedInstance> => {
  const [instance] = await sql.rows(lockInstance, referenceValues(wanted));
  if (instance === undefined) {
    throw fleetError("NOT_FOUND", `There is no instance ${wanted.idOrName} ${inProject(wanted.project)}.`);
  }
  if (instance.removing) throw fleetError("STATE_CONFLICT", `Instance ${instance.name} is being removed.`);
  return instance;
};

/** A machine's directories are devices that it has from its start; what is there can be taken away. */
const refuseMachines = ({ name, isolation }: LockedInstance): void => {
  if (isolation === "container") return;
  throw fleetError(
    "FIELD_NOT_APPLICABLE",
    `Instance ${name} is a VM, which is given all that it sees when it starts. Name the share in its workload.`,
  );
};

/** Linux moves no process of somebody else's into a namespace or out of one, running or not its files are of its ids. */
const refuseNamespaces = ({ name, spec }: Share, move: "enter" | "leave"): void => {
  if (spec.kind !== "namespace") return;
  const when = move === "enter" ? "enters them when it starts" : "is in them until it ends";
  throw fleetError("NAMESPACE_FIXED", `Share ${name} is namespaces: an instance ${when}.`);
};

/** Tells the instance's agent what it is to see now. */
const tell = async (sql: Sql, instanceId: string): Promise<void> => {
  const [row] = await sql.rows(selectShares, [instanceId]);
  await changeDocuments(sql, { instanceIds: [instanceId], patch: { shares: mountedShares(row?.shares ?? []) } });
};

const upsertUse = statement(
  "api_share_use",
  `INSERT INTO share_use (instance_id, share_id, path, read_only, state) VALUES ($1, $2, $3, $4, $5)
   ON CONFLICT (instance_id, share_id)
   DO UPDATE SET path = excluded.path, read_only = excluded.read_only, state = excluded.state, detail = NULL`,
);
const pinShare = statement("api_share_pin", `UPDATE share SET host_id = $2 WHERE id = $1`);
const othersThere = statement<{ count: number }>(
  "api_share_others",
  `SELECT count(*)::int AS count FROM share_use u JOIN assignment a ON a.instance_id = u.instance_id AND NOT a.tombstone
   WHERE u.share_id = $1 AND u.instance_id <> $2 AND a.host_id = $3`,
);

/** One share of one instance, and the agent that must act; none when it runs nowhere. */
export interface OrderedUse {
  readonly instanceId: string;
  readonly instance: string;
  readonly shareId: string;
  readonly share: string;
  readonly agent: { readonly hostId: string; readonly isolation: "container" | "vm" } | null;
}

const ordered = (instance: LockedInstance, share: { readonly id: string; readonly name: string }): OrderedUse => ({
  instanceId: instance.id,
  instance: instance.name,
  shareId: share.id,
  share: share.name,
  agent: instance.hostId === null ? null : { hostId: instance.hostId, isolation: instance.isolation },
});

export interface UseReference {
  readonly instance: Reference;
  /** id or name, in the instance's project */
  readonly share: string;
}

/**
 * Orders that an instance sees a share, from now on and after each restart; in another place or mode when it does
 * already. Rejects NOT_FOUND, NAMESPACE_FIXED, SHARE_ELSEWHERE, STATE_CONFLICT while either is going or when it sees as many as it may,
 * REQUEST_INVALID for a taken place.
 */
export const attachShare = async (
  sql: Sql,
  change: Change,
  { instance: wanted, share: name }: UseReference,
  place: AttachShare,
): Promise<OrderedUse> => {
  const instance = await locked(sql, wanted);
  refuseMachines(instance);
  const share = await getShare(sql, { project: instance.project, idOrName: name });
  if (share.deleting) throw fleetError("STATE_CONFLICT", `Share ${share.name} is being deleted.`);
  refuseNamespaces(share, "enter");
  const seen = (await sql.rows(selectShares, [instance.id]))[0]?.shares ?? [];
  const others = seen.filter((each) => each.shareId !== share.id);
  if (others.length >= instanceSharesMax) {
    throw fleetError(
      "STATE_CONFLICT",
      `Instance ${instance.name} sees ${others.length} other shares; ${instanceSharesMax} are the most. Detach one first.`,
    );
  }
  const taken = others.find((each) => each.path === place.path);
  if (taken !== undefined) {
    throw fleetError("REQUEST_INVALID", `Instance ${instance.name} sees share ${taken.name} at ${place.path}.`, {
      fields: { errors: [{ pointer: "/path", message: `is where share ${taken.name} is seen` }] },
    });
  }
  if (instance.hostId !== null && share.hostId !== instance.hostId) {
    const used = await sql.rows(othersThere, [share.id, instance.id, share.hostId]);
    const empty = share.spec.lifetime === "transient" && (used[0]?.count ?? 0) === 0;
    if (share.hostId !== null && !empty) {
      throw fleetError(
        "SHARE_ELSEWHERE",
        `Share ${share.name} lies on ${share.hostName}, where ${instance.name} does not run.`,
      );
    }
    await sql.count(pinShare, [share.id, instance.hostId]);
  }
  const state = instance.hostId === null ? "declared" : "attaching";
  await sql.count(upsertUse, [instance.id, share.id, place.path, place.readOnly ?? true, state]);
  await tell(sql, instance.id);
  await audit(
    sql,
    { ...change, project: instance.project },
    { verb: "share.attach", target: instance.id, data: { share: share.name, ...place } },
  );
  return ordered(instance, share);
};

const markDetaching = statement(
  "api_share_detaching",
  `UPDATE share_use SET state = 'detaching', detail = NULL WHERE instance_id = $1 AND share_id = $2`,
);
const deleteUse = statement("api_share_unuse", `DELETE FROM share_use WHERE instance_id = $1 AND share_id = $2`);

/** Orders that an instance sees a share no longer. Rejects NAMESPACE_FIXED, NOT_FOUND also when it does not see it. */
export const detachShare = async (
  sql: Sql,
  change: Change,
  { instance: wanted, share: name }: UseReference,
): Promise<OrderedUse> => {
  const instance = await locked(sql, wanted);
  const share = await getShare(sql, { project: instance.project, idOrName: name });
  refuseNamespaces(share, "leave");
  const rows = await sql.count(instance.hostId === null ? deleteUse : markDetaching, [instance.id, share.id]);
  if (rows === 0) throw fleetError("NOT_FOUND", `Instance ${instance.name} does not see share ${share.name}.`);
  await tell(sql, instance.id);
  await audit(
    sql,
    { ...change, project: instance.project },
    { verb: "share.detach", target: instance.id, data: { share: share.name } },
  );
  return ordered(instance, share);
};

const confirm = statement<{ share: string; instance: string; project: string; workloadId: string; state: string }>(
  "api_share_confirm",
  `WITH told AS (
     SELECT w.share_id, w.state, w.detail FROM unnest($2::uuid[], $3::text[], $4::text[]) AS w(share_id, state, detail)
   ), gone AS (
     -- What an agent does not mention it does not show: it has the newest document.
     DELETE FROM share_use u
     WHERE u.instance_id = $1 AND u.state = 'detaching'
       AND NOT EXISTS (SELECT FROM told t WHERE t.share_id = u.share_id AND t.state <> 'detached')
     RETURNING u.share_id, 'detached' AS state
   ), there AS (
     UPDATE share_use u SET state = 'attached', detail = NULL FROM told t
     WHERE u.instance_id = $1 AND u.share_id = t.share_id AND u.state = 'attaching' AND t.state = 'attached'
     RETURNING u.share_id, 'attached' AS state
   ), resting AS (
     UPDATE share_use u SET state = 'declared', detail = NULL
     WHERE u.instance_id = $1 AND u.state = 'attaching' AND NOT $5
   ), failed AS (
     UPDATE share_use u SET detail = t.detail FROM told t
     WHERE u.instance_id = $1 AND u.share_id = t.share_id AND t.state = 'failed' AND u.detail IS DISTINCT FROM t.detail
   )
   SELECT s.name AS share, i.name AS instance, i.project, i.workload_id AS "workloadId", c.state
   FROM (SELECT * FROM gone UNION ALL SELECT * FROM there) c
   JOIN share s ON s.id = c.share_id JOIN instance i ON i.id = $1`,
);

/** Writes down what an agent says of an instance's shares; what was ordered meanwhile stays ordered. */
export const confirmShares = async (
  sql: Sql,
  instanceId: string,
  { running, outcomes }: SharesApplied,
): Promise<void> => {
  const changed = await sql.rows(confirm, [
    instanceId,
    outcomes.map(({ shareId }) => shareId),
    outcomes.map(({ state }) => state),
    outcomes.map(({ detail }) => detail),
    running,
  ]);
  for (const { share, instance, project, workloadId, state } of changed) {
    const type = state === "attached" ? "share.attached" : "share.detached";
    await appendEvents(sql, { project, traceId: null }, [{ type, workloadId, instanceId, data: { share, instance } }]);
  }
};
