// Tokens as an administrator makes them on the command line, and what each may do.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Token } from "@bulkhead/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFleet, type Fleet } from "../fleet.ts";

let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet();
});
afterAll(() => fleet[Symbol.asyncDispose]());

/** A new token's secret, by a command that succeeds. */
const made = async (...words: string[]): Promise<string> => {
  const { code, stdout, stderr } = await fleet.cli("tokens", "create", ...words);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(/^This is token [0-9a-f-]{36}\./) });
  expect(stdout).toMatch(/^bulkhead_[\w-]{43}\n$/);
  return stdout;
};

/** Another user of this machine, who has a token. */
const as = async (name: string, secret: string): Promise<(...words: string[]) => ReturnType<Fleet["cli"]>> => {
  const file = join(fleet.directory, `${name}.token`);
  writeFileSync(file, secret, { mode: 0o600 });
  const [, administrator = ""] = /\* +(\S+)/.exec((await fleet.cli("context")).stdout) ?? [];
  const set = await fleet.cli("context", "set", name, "--url", fleet.apiUrl, "--token-file", file);
  expect(set.code).toBe(0);
  await fleet.cli("context", "use", administrator);
  return (...words) => fleet.cli(...words, "--context", name);
};

const listed = async (): Promise<Token[]> => JSON.parse((await fleet.cli("tokens", "-o", "json")).stdout) as Token[];

test("a viewer reads its project and changes nothing, until its token is revoked", async () => {
  const viewer = await as("viewer", await made("board", "--role", "viewer", "--project", "web"));
  expect(await viewer("ps", "--project", "web")).toMatchObject({ code: 0 });
  const refused = await viewer("networks", "create", "lan", "--project", "web");
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain("(FORBIDDEN)");
  expect((await viewer("ps", "--project", "default")).stderr).toContain("(FORBIDDEN)");
  const [token] = (await listed()).filter(({ name }) => name === "board");
  expect(token).toMatchObject({ role: "viewer", project: "web", revokedAt: null });
  expect(token).not.toHaveProperty("secret");
  expect(await fleet.cli("tokens", "revoke", token?.id ?? "")).toMatchObject({
    code: 0,
    stderr: `revoked ${token?.id} (board)\n`,
  });
  expect((await viewer("ps", "--project", "web")).stderr).toContain("(UNAUTHENTICATED)");
  expect((await fleet.cli("tokens")).stdout).toMatch(/ board +viewer +web +revoked /);
});

test("with a join token nothing is read", async () => {
  const joining = await as("joining", await made("hosts", "--role", "join"));
  for (const noun of ["ps", "hosts", "tokens"]) expect((await joining(noun)).stderr).toContain("(FORBIDDEN)");
});

test("a role that there is not is refused with those that there are", async () => {
  const { code, stderr } = await fleet.cli("tokens", "create", "x", "--role", "owner");
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: "bulkhead: --role: write one of admin, editor, viewer, join.\n",
  });
});
