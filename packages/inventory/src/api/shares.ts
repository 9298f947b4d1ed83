import {
  type CreateShare,
  type Share,
  type ShareGraph,
  type ShareKind,
  type SharedNamespaceType,
  type ShareUse,
  fleetError,
  withShareDefaults,
} from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { isUniqueViolation } from "../failure.ts";
import { type Change, appendEvents, audit, newId } from "./change.ts";
import { type Page, type PageRequest, afterId, pageOf } from "./page.ts";
import { type Reference, inProject, referenceValues } from "./workload-rows.ts";

type ShareRow = Omit<Share, "createdAt"> & { readonly createdAt: Date };

const useObject = `jsonb_build_object('share', s.name, 'instanceId', i.id, 'instance', i.name, 'path', u.path,
  'readOnly', u.read_only, 'state', u.state, 'detail', u.detail)`;

const selectText = `
  SELECT s.id, s.project, s.name, s.spec, s.host_id AS "hostId", h.name AS "hostName", s.deleting,
    s.created_at AS "createdAt",
    (SELECT coalesce(jsonb_agg(${useObject} ORDER BY i.name), '[]')
     FROM share_use u JOIN instance i ON i.id = u.instance_id WHERE u.share_id = s.id) AS users
  FROM share s LEFT JOIN host h ON h.id = s.host_id`;

const toShare = (row: ShareRow): Share => ({ ...row, createdAt: row.createdAt.toISOString() });

const selectOne = statement<ShareRow>(
  "api_share",
  `${selectText} WHERE ($1::text IS NULL OR s.project = $1) AND (s.id = $2::uuid OR s.name = $3) ORDER BY s.id LIMIT 1`,
);

/** Rejects NOT_FOUND. */
export const getShare = async (sql: Sql, wanted: Reference): Promise<Share> => {
  const [row] = await sql.rows(selectOne, referenceValues(wanted));
  if (row === undefined) {
    throw fleetError("NOT_FOUND", `There is no share ${wanted.idOrName} ${inProject(wanted.project)}.`);
  }
  return toShare(row);
};

const selectPage = statement<ShareRow>(
  "api_share_page",
  `${selectText} WHERE ($1::text IS NULL OR s.project = $1) AND s.id > $2 ORDER BY s.id LIMIT $3`,
);

export const listShares = async (sql: Sql, project: string | null, page: PageRequest): Promise<Page<Share>> => {
  const rows = await sql.rows(selectPage, [project, afterId(page.cursor), page.limit + 1]);
  return pageOf(rows, page.limit, { item: toShare, key: (row) => row.id });
};

type ShareNode = Omit<ShareGraph["shares"][number], "namespaces">;
const selectNodes = statement<ShareNode & { readonly namespaces: SharedNamespaceType[] | null }>(
  "api_share_nodes",
  `SELECT s.name, s.spec ->> 'kind' AS kind, s.spec -> 'namespaces' AS namespaces, h.name AS "hostName" FROM share s LEFT JOIN host h ON h.id = s.host_id
   WHERE ($1::text IS NULL OR s.project = $1) ORDER BY s.name`,
);
const selectEdges = statement<ShareUse>(
  "api_share_edges",
  `SELECT s.name AS share, i.id AS "instanceId", i.name AS instance, u.path, u.read_only AS "readOnly", u.state, u.detail
   FROM share_use u JOIN share s ON s.id = u.share_id JOIN instance i ON i.id = u.instance_id
   WHERE ($1::text IS NULL OR s.project = $1) ORDER BY s.name, i.name`,
);

/** Every share of a project and who sees it. */
export const shareGraph = async (sql: Sql, project: string | null): Promise<ShareGraph> => {
  const [nodes, uses] = await Promise.all([sql.rows(selectNodes, [project]), sql.rows(selectEdges, [project])]);
  const shares = nodes.map(({ namespaces, ...node }) => ({ ...node, ...(namespaces === null ? {} : { namespaces }) }));
  return { shares, uses };
};

const insertShare = statement(
  "api_share_insert",
  `WITH owner AS (INSERT INTO project (name) VALUES ($2) ON CONFLICT (name) DO NOTHING)
   INSERT INTO share (id, project, name, spec) VALUES ($1, $2, $3, $4)`,
);

/** Rejects NAME_TAKEN. */
export const createShare = async (sql: Sql, change: Change, wanted: CreateShare): Promise<Share> => {
  const id = newId();
  const spec = withShareDefaults(wanted.spec);
  await sql.count(insertShare, [id, change.project, wanted.name, JSON.stringify(spec)]).catch((error: unknown) => {
    if (!isUniqueViolation(error)) throw error;
    throw fleetError("NAME_TAKEN", `Project ${change.project} already has a share ${wanted.name}.`, { cause: error });
  });
  await audit(sql, change, { verb: "share.create", target: id, data: { name: wanted.name, spec } });
  await appendEvents(sql, change, [{ type: "share.created", data: { name: wanted.name, kind: spec.kind } }]);
  return getShare(sql, { project: null, idOrName: id });
};

const lockShare = statement<{ id: string }>("api_share_lock", `SELECT id FROM share WHERE id = $1 FOR UPDATE`);
const markDeleting = statement("api_share_deleting", `UPDATE share SET deleting = true WHERE id = $1`);
const deleteRow = statement("api_share_delete", `DELETE FROM share WHERE id = $1`);

/**
 * Deletes a share that nobody uses: at once when it lies nowhere yet, else when its host has removed the data; until
 * then it is shown as deleting and takes no users. Rejects NOT_FOUND, SHARE_IN_USE with who uses it.
 */
export const deleteShare = async (sql: Sql, change: Change, wanted: Reference): Promise<Share> => {
  const { id } = await getShare(sql, wanted);
  await sql.rows(lockShare, [id]);
  const share = await getShare(sql, { project: null, idOrName: id });
  if (share.users.length > 0) {
    const users = share.users.map(({ instance }) => instance).join(", ");
    throw fleetError("SHARE_IN_USE", `Share ${share.name} is used by ${users}.`);
  }
  await sql.count(markDeleting, [id]);
  await audit(
    sql,
    { ...change, project: share.project },
    { verb: "share.delete", target: id, data: { name: share.name } },
  );
  if (share.hostId === null) await forgetShare(sql, share);
  return { ...share, deleting: true };
};

/** The data is gone from its host, and the row with it. */
export const forgetShare = async (sql: Sql, share: Pick<Share, "id" | "name" | "project">): Promise<void> => {
  if ((await sql.count(deleteRow, [share.id])) === 0) return;
  await appendEvents(sql, { project: share.project, traceId: null }, [
    { type: "share.deleted", data: { name: share.name } },
  ]);
};

const shareHosts = statement<{
  name: string;
  hostId: string | null;
  deleting: boolean;
  id: string;
  kind: ShareKind;
  namespaces: SharedNamespaceType[] | null;
}>(
  "api_share_hosts",
  `SELECT id, name, host_id AS "hostId", deleting, spec ->> 'kind' AS kind, spec -> 'namespaces' AS namespaces FROM share
   WHERE project = $1 AND name = ANY($2::text[])`,
);

/** The shares of these names that can be used, and where they lie. */
export const usableShares = async (sql: Sql, project: string, names: readonly string[]) =>
  names.length === 0 ? [] : (await sql.rows(shareHosts, [project, names])).filter(({ deleting }) => !deleting);
