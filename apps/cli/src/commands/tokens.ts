import { type CreateToken, type Token, tokenRoles } from "@bulkhead/contracts";
import { type Invocation, UsageError } from "../command.ts";
import { printNamed, printObject } from "../output.ts";
import { formatAge } from "../quantity.ts";

const columns = (now: number) => [
  { title: "TOKEN", value: (row: Token) => row.id },
  { title: "NAME", value: (row: Token) => row.name },
  { title: "ROLE", value: (row: Token) => row.role },
  { title: "PROJECT", value: (row: Token) => row.project ?? "-" },
  { title: "STATE", value: (row: Token) => (row.revokedAt === null ? "valid" : "revoked") },
  { title: "AGE", value: (row: Token) => formatAge(row.createdAt, now) },
];

/** `bulkhead tokens` */
export const list = async (invocation: Invocation): Promise<void> => {
  const rows = await Array.fromAsync(invocation.client().tokens.list());
  await printNamed(invocation, columns(Date.now()), rows, ({ id }) => id);
};

/** Roles of people and programs; hosts have a credential of their own. */
export const givenRoles = tokenRoles.filter((role) => role !== "agent") satisfies readonly CreateToken["role"][];

const roleOf = (invocation: Invocation): CreateToken["role"] => {
  const text = invocation.options.text("role");
  const role = givenRoles.find((known) => known === text);
  if (role === undefined) throw new UsageError(`--role: write one of ${givenRoles.join(", ")}.`);
  return role;
};

/** `bulkhead tokens create NAME --role ROLE`: standard output is the secret alone, so that it can go into a file. */
export const create = async (invocation: Invocation): Promise<void> => {
  const [name = ""] = invocation.positionals;
  const role = roleOf(invocation);
  const client = invocation.client();
  const ofProject = role === "editor" || role === "viewer";
  const project = ofProject ? { project: client.transport.options.project ?? "default" } : {};
  const token = await client.tokens.create({ name, role, ...project });
  if (invocation.format !== "table") return printObject(invocation, token);
  invocation.print(`${token.secret ?? ""}\n`);
  invocation.say(`This is token ${token.id}. It is not shown again; \`bulkhead tokens revoke\` ends it.`);
};

/** `bulkhead tokens revoke TOKEN…` */
export const revoke = async (invocation: Invocation): Promise<void> => {
  for (const id of invocation.positionals) {
    const { name } = await invocation.client().tokens.revoke(id);
    invocation.say(`revoked ${id} (${name})`);
  }
};
