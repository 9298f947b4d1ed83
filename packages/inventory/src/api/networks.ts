import { type Network, fleetError, formatRange, parseRange, rangesOverlap } from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { constraintOf, isUniqueViolation } from "../failure.ts";
import { type Change, audit, newId } from "./change.ts";
import { type Page, type PageRequest, afterId, pageOf } from "./page.ts";
import { type Reference, inProject, referenceValues } from "./workload-rows.ts";

/** A network with everything decided but ranges that are still to be chosen. */
export interface NewNetwork {
  readonly name: string;
  readonly ipv4Range: string | null;
  readonly ipv6Range: string | null;
  /** no range was given: one of each family is chosen */
  readonly choose: boolean;
  readonly mtu: number;
  readonly internal: boolean;
}

interface NetworkRow extends Omit<Network, "createdAt"> {
  readonly createdAt: Date;
}

const selectText = `
  SELECT n.id, n.project, n.name, n.ipv4_range::text AS "ipv4Range", n.ipv6_range::text AS "ipv6Range", n.mtu, n.internal,
         n.created_at AS "createdAt",
         (SELECT count(*)::int FROM assignment s
          WHERE s.document #>> '{network,networkId}' = n.id::text AND s.gone_at IS NULL) AS addresses
  FROM network n`;

const toNetwork = (row: NetworkRow): Network => ({ ...row, createdAt: row.createdAt.toISOString() });

const selectOne = statement<NetworkRow>(
  "api_network",
  `${selectText} WHERE ($1::text IS NULL OR n.project = $1) AND (n.id = $2::uuid OR n.name = $3) ORDER BY n.id LIMIT 1`,
);

/** Rejects NOT_FOUND. */
export const getNetwork = async (sql: Sql, wanted: Reference): Promise<Network> => {
  const [row] = await sql.rows(selectOne, referenceValues(wanted));
  if (row !== undefined) return toNetwork(row);
  throw fleetError("NOT_FOUND", `There is no network ${wanted.idOrName} ${inProject(wanted.project)}.`);
};

const selectPage = statement<NetworkRow>(
  "api_network_page",
  `${selectText} WHERE ($1::text IS NULL OR n.project = $1) AND n.id > $2 ORDER BY n.id LIMIT $3`,
);

export const listNetworks = async (sql: Sql, project: string | null, page: PageRequest): Promise<Page<Network>> => {
  const rows = await sql.rows(selectPage, [project, afterId(page.cursor), page.limit + 1]);
  return pageOf(rows, page.limit, { item: toNetwork, key: (row) => row.id });
};

/** Where ranges are chosen: private use (RFC 1918) off the usual defaults, and a unique local prefix (RFC 4193). */
const pool4 = { first: 10n * 2n ** 24n + 201n * 2n ** 16n, step: 2n ** 8n, bits: 32, prefix: 24 } as const;
const pool6 = { first: 0xfdb0_6b1dn << 96n, step: 2n ** 64n, bits: 128, prefix: 64 } as const;
/** Ranges in a pool: a /16 of /24s, and as many of the /64s. */
const poolSize = 256;

const lockNetworks = statement("api_network_table", `LOCK TABLE network IN SHARE ROW EXCLUSIVE MODE`);
const selectRanges = statement<{ ipv4: string | null; ipv6: string | null }>(
  "api_network_ranges",
  `SELECT ipv4_range::text AS ipv4, ipv6_range::text AS ipv6 FROM network`,
);

const firstFree = (pool: typeof pool4 | typeof pool6, taken: readonly string[]): string => {
  const others = taken.flatMap((text) => parseRange(text) ?? []);
  for (let at = 0n; at < poolSize; at += 1n) {
    const range = { bits: pool.bits, value: pool.first + at * pool.step, prefix: pool.prefix };
    if (!others.some((other) => rangesOverlap(range, other))) return formatRange(range);
  }
  throw fleetError("NETWORK_RANGES_EXHAUSTED", `All ${poolSize} ranges that are chosen from are taken.`);
};

const ensureProject = statement("api_project", `INSERT INTO project (name) VALUES ($1) ON CONFLICT (name) DO NOTHING`);
const insertNetwork = statement(
  "api_network_insert",
  `INSERT INTO network (id, project, name, ipv4_range, ipv6_range, mtu, internal)
   VALUES ($1, $2, $3, $4::cidr, $5::cidr, $6, $7)`,
);

const refusal = (error: unknown, change: Change, wanted: NewNetwork): unknown => {
  if (isUniqueViolation(error)) {
    return fleetError("NAME_TAKEN", `Project ${change.project} already has a network ${wanted.name}.`, {
      cause: error,
    });
  }
  const constraint = constraintOf(error);
  if (constraint !== "network_ipv4_apart" && constraint !== "network_ipv6_apart") return error;
  const [member, range] =
    constraint === "network_ipv4_apart" ? ["ipv4Range", wanted.ipv4Range] : ["ipv6Range", wanted.ipv6Range];
  return fleetError("NETWORK_OVERLAPS", `${range} overlaps the range of another network of this fleet.`, {
    fields: { errors: [{ pointer: `/${member}`, message: "overlaps another network's range" }] },
    cause: error,
  });
};

/** Rejects NAME_TAKEN, NETWORK_OVERLAPS, NETWORK_RANGES_EXHAUSTED. */
export const createNetwork = async (sql: Sql, change: Change, wanted: NewNetwork): Promise<Network> => {
  const id = newId();
  await sql.count(ensureProject, [change.project]);
  let { ipv4Range, ipv6Range } = wanted;
  if (wanted.choose) {
    // Who chooses at the same time would choose the same.
    await sql.count(lockNetworks, []);
    const taken = await sql.rows(selectRanges);
    ipv4Range = firstFree(
      pool4,
      taken.flatMap(({ ipv4 }) => ipv4 ?? []),
    );
    ipv6Range = firstFree(
      pool6,
      taken.flatMap(({ ipv6 }) => ipv6 ?? []),
    );
  }
  await sql
    .count(insertNetwork, [id, change.project, wanted.name, ipv4Range, ipv6Range, wanted.mtu, wanted.internal])
    .catch((error: unknown) => {
      throw refusal(error, change, wanted);
    });
  await audit(sql, change, { verb: "network.create", target: id, data: { name: wanted.name, ipv4Range, ipv6Range } });
  return getNetwork(sql, { project: change.project, idOrName: id });
};

const lockNetwork = statement("api_network_lock", `SELECT FROM network WHERE id = $1 FOR UPDATE`);
const selectUsers = statement<{ name: string }>(
  "api_network_users",
  `SELECT name FROM workload WHERE project = $1 AND spec ->> 'network' = $2 ORDER BY name LIMIT 6`,
);
const deleteRow = statement("api_network_delete", `DELETE FROM network WHERE id = $1`);

/** Rejects NOT_FOUND, NETWORK_IN_USE. */
export const deleteNetwork = async (sql: Sql, change: Change, idOrName: string): Promise<void> => {
  const { id, name } = await getNetwork(sql, { project: change.project, idOrName });
  // Locked before the users are read: a workload that is being created holds a share of this lock until it commits.
  await sql.count(lockNetwork, [id]);
  const users = (await sql.rows(selectUsers, [change.project, name])).map((user) => user.name);
  if (users.length > 0) {
    const named = users.length > 5 ? `${users.slice(0, 5).join(", ")} and more` : users.join(", ");
    throw fleetError("NETWORK_IN_USE", `Network ${name} is used by ${named}.`);
  }
  const { addresses } = await getNetwork(sql, { project: change.project, idOrName: id });
  if (addresses > 0) {
    throw fleetError("NETWORK_IN_USE", `Network ${name} still has ${addresses} instances that are being removed.`);
  }
  await sql.count(deleteRow, [id]);
  await audit(sql, change, { verb: "network.delete", target: id, data: { name } });
};

const shareNetwork = statement(
  "api_network_share",
  `SELECT FROM network WHERE project = $1 AND name = $2 FOR KEY SHARE`,
);

/** Keeps a network from being deleted until this transaction ends. Rejects NETWORK_UNKNOWN. */
export const holdNetwork = async (sql: Sql, project: string, name: string): Promise<void> => {
  if ((await sql.count(shareNetwork, [project, name])) === 1) return;
  throw fleetError("NETWORK_UNKNOWN", `Project ${project} has no network ${name}.`, {
    fields: { errors: [{ pointer: "/spec/network", message: "is no network of the project" }] },
  });
};
