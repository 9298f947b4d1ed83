import type { NetworkSnapshot } from "@bulkhead/placement";
import { statement, type Sql } from "../database.ts";

/** A network by the project and name that specifications use. */
export interface NetworkKey {
  readonly project: string;
  readonly name: string;
}

/** The key under which a plan knows a network. */
export const networkKey = ({ project, name }: NetworkKey): string => `${project}/${name}`;

interface NetworkRow extends NetworkSnapshot {
  readonly project: string;
}

const selectNetworks = statement<NetworkRow>(
  "control_networks",
  `SELECT n.project, n.id, n.name, n.ipv4_range::text AS "ipv4Range", n.ipv6_range::text AS "ipv6Range", n.mtu, n.internal,
     coalesce((
       SELECT array_agg(a.address)
       FROM assignment s, unnest(ARRAY[s.document #>> '{network,ipv4,address}', s.document #>> '{network,ipv6,address}'])
         AS a(address)
       WHERE s.document #>> '{network,networkId}' = n.id::text AND s.gone_at IS NULL AND a.address IS NOT NULL
     ), '{}') AS used
   FROM network n JOIN unnest($1::text[], $2::text[]) AS w(project, name) ON w.project = n.project AND w.name = n.name`,
);

/** The networks with these names, with every address that an assignment has, by their key. */
export const readNetworks = async (sql: Sql, keys: readonly NetworkKey[]): Promise<Map<string, NetworkSnapshot>> => {
  if (keys.length === 0) return new Map();
  const wanted = [...new Map(keys.map((key) => [networkKey(key), key])).values()];
  const rows = await sql.rows(selectNetworks, [wanted.map(({ project }) => project), wanted.map(({ name }) => name)]);
  return new Map(rows.map(({ project, ...network }) => [networkKey({ project, name: network.name }), network]));
};
