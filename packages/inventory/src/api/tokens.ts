import { type Token, type TokenRole, fleetError } from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { audit, newId } from "./change.ts";
import { type Page, type PageRequest, afterId, pageOf } from "./page.ts";

/** Who a bearer token is. Agents have a host and a kind, project roles a project. */
export interface Identity {
  readonly tokenId: string;
  readonly role: TokenRole;
  readonly project: string | null;
  readonly hostId: string | null;
  readonly isolation: string | null;
}

const selectByHash = statement<Identity>(
  "api_token_by_hash",
  `SELECT id AS "tokenId", role, project, host_id AS "hostId", isolation
   FROM token WHERE hash = $1 AND revoked_at IS NULL`,
);

/** The token with this SHA-256, unless revoked. */
export const findToken = async (sql: Sql, hash: Uint8Array): Promise<Identity | undefined> =>
  (await sql.rows(selectByHash, [hash]))[0];

const upsertAdmin = statement(
  "api_token_admin",
  `INSERT INTO token (id, name, hash, role) VALUES ($1, 'admin of this machine', $2, 'admin')
   ON CONFLICT (hash) DO UPDATE SET role = 'admin', revoked_at = NULL`,
);

/** Makes the token of the bootstrap file an admin's; the file is the authority, so a revoked one is restored. */
export const upsertAdminToken = async (sql: Sql, hash: Uint8Array): Promise<void> => {
  await sql.count(upsertAdmin, [newId(), hash]);
};

interface TokenRow {
  readonly id: string;
  readonly name: string;
  readonly role: TokenRole;
  readonly project: string | null;
  readonly createdAt: Date;
  readonly revokedAt: Date | null;
}

const columns = `id, name, role, project, created_at AS "createdAt", revoked_at AS "revokedAt"`;

const toToken = (row: TokenRow): Token => ({
  ...row,
  createdAt: row.createdAt.toISOString(),
  revokedAt: row.revokedAt?.toISOString() ?? null,
});

const insertToken = statement<TokenRow>(
  "api_token_insert",
  `WITH owner AS (INSERT INTO project (name) SELECT $5::text WHERE $5::text IS NOT NULL ON CONFLICT (name) DO NOTHING)
   INSERT INTO token (id, name, hash, role, project, host_id, isolation) VALUES ($1, $2, $3, $4, $5, $6, $7)
   RETURNING ${columns}`,
);

export interface NewToken {
  readonly name: string;
  readonly hash: Uint8Array;
  readonly role: TokenRole;
  readonly project?: string;
  readonly hostId?: string;
  readonly isolation?: string;
}

/** Stores a token's hash; `by` is the token that made it. */
export const createToken = async (sql: Sql, token: NewToken, by: string): Promise<Token> => {
  const id = newId();
  const values = [id, token.name, token.hash, token.role, token.project, token.hostId, token.isolation];
  const [row] = await sql.rows(
    insertToken,
    values.map((value) => value ?? null),
  );
  if (row === undefined) throw new Error("no row came back");
  const data = { name: token.name, role: token.role, hostId: token.hostId };
  await audit(sql, { tokenId: by, project: token.project ?? null }, { verb: "token.create", target: id, data });
  return toToken(row);
};

const selectPage = statement<TokenRow>(
  "api_token_page",
  `SELECT ${columns} FROM token WHERE id > $1 ORDER BY id LIMIT $2`,
);

export const listTokens = async (sql: Sql, page: PageRequest): Promise<Page<Token>> => {
  const rows = await sql.rows(selectPage, [afterId(page.cursor), page.limit + 1]);
  return pageOf(rows, page.limit, { item: toToken, key: (row) => row.id });
};

const revoke = statement<TokenRow>(
  "api_token_revoke",
  `UPDATE token SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING ${columns}`,
);

/** Rejects NOT_FOUND. */
export const revokeToken = async (sql: Sql, id: string, by: string): Promise<Token> => {
  const [row] = await sql.rows(revoke, [id]);
  if (row === undefined) throw fleetError("NOT_FOUND", `There is no token ${id}.`);
  await audit(sql, { tokenId: by, project: row.project }, { verb: "token.revoke", target: id });
  return toToken(row);
};

const revokeAgents = statement(
  "api_token_revoke_agents",
  `UPDATE token SET revoked_at = now() WHERE host_id = $1 AND isolation = $2 AND revoked_at IS NULL`,
);

/** An agent that joins again gets a new credential; the old ones end. */
export const revokeAgentTokens = async (sql: Sql, hostId: string, isolation: string): Promise<void> => {
  await sql.count(revokeAgents, [hostId, isolation]);
};
