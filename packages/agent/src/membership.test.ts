import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import { mkdtempDisposable, readFile, stat, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { HostId, JoinHost } from "@bulkhead/contracts";
import { Membership, type MembershipOptions } from "./membership.ts";

const clusterId = (n: number): string => `0198c0de-2222-7000-8000-00000000000${n}`;
const publicKey = `U${"A".repeat(55)}`;
const facts = {} as JoinHost["facts"];

let directory: Awaited<ReturnType<typeof mkdtempDisposable>>;
let server: ReturnType<typeof createServer>;
let answers: { status: number; body: unknown }[];
let asked: { authorization: string | undefined; body: JoinHost }[];
let warnings: string[];

beforeEach(async () => {
  directory = await mkdtempDisposable("/tmp/bulkhead-membership-");
  answers = [];
  asked = [];
  warnings = [];
  server = createServer((request, response) => {
    void answer(request, response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(async () => {
  server.close();
  await directory[Symbol.asyncDispose]();
});

const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
  asked.push({ authorization: request.headers.authorization, body: JSON.parse(await text(request)) as JoinHost });
  const { status, body } = answers.shift() ?? { status: 503, body: { code: "OVERLOADED", detail: "busy" } };
  response.writeHead(status).end(JSON.stringify(body));
};

const credential = (n: number, httpToken = "token") => ({
  status: 201,
  body: { clusterId: clusterId(n), natsUrl: "nats://127.0.0.1:4222", natsJwt: "jwt", httpToken },
});

const options = async (changes: Partial<MembershipOptions> = {}): Promise<MembershipOptions> => {
  const joinTokenFile = join(directory.path, "token");
  await writeFile(joinTokenFile, "the token\n");
  return {
    directory: directory.path,
    isolation: "container",
    apiUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    joinTokenFile,
    describe: async () => ({ hostId: "host" as HostId, name: "here", isolation: "container", facts }),
    makeKey: () => ({ publicKey, seed: "seed" }),
    log: {
      debug: () => undefined,
      info: () => undefined,
      warn: (_, message) => void warnings.push(message),
      error: (_, message) => void warnings.push(message),
    },
    signal: new AbortController().signal,
    ...changes,
  };
};
const withoutToken = async () => {
  const { joinTokenFile: _, ...rest } = await options();
  return rest;
};

test("a new machine joins with its token, and its secrets are files for root only", async () => {
  answers.push(credential(1));
  const membership = await Membership.open(await options());
  expect(membership.credential).toMatchObject({ clusterId: clusterId(1), httpToken: "token" });
  expect(membership.left).toBeNull();
  expect(asked).toEqual([
    { authorization: "Bearer the token", body: expect.objectContaining({ publicKey, name: "here" }) },
  ]);
  for (const file of ["credential.container.json", "key.container.json"]) {
    expect((await stat(join(directory.path, file))).mode & 0o777).toBe(0o600);
  }
  expect(JSON.stringify(asked)).not.toContain("seed");
});

test("a host joins again at each start with the same key, and goes on without when nobody answers", async () => {
  answers.push(credential(1, "first"), credential(1, "second"));
  await Membership.open(await options());
  const again = await Membership.open(await options({ makeKey: () => ({ publicKey: "another", seed: "another" }) }));
  expect(again.credential.httpToken).toBe("second");
  expect(again.seed).toBe("seed");
  expect(new Set(asked.map(({ body }) => body.publicKey))).toEqual(new Set([publicKey]));
  const alone = await Membership.open(await options({ apiUrl: "http://127.0.0.1:1" }));
  expect(alone.credential.httpToken).toBe("second");
  expect(warnings).toEqual(["could not join now, going on with the earlier credential"]);
  expect((await Membership.open(await withoutToken())).credential.httpToken).toBe("second");
});

test("a new machine waits for a scheduler that is busy", async () => {
  answers.push({ status: 503, body: { code: "DATABASE_UNAVAILABLE", detail: "starting" } }, credential(1));
  expect((await Membership.open(await options())).credential.clusterId).toBe(clusterId(1));
  expect(warnings).toEqual(["could not join, trying again"]);
});

test("a refusal ends the attempt with the scheduler's own words", async () => {
  answers.push({ status: 403, body: { code: "FORBIDDEN", detail: "not you" } });
  await expect(Membership.open(await options())).rejects.toMatchObject({
    code: "FORBIDDEN",
    message: expect.stringContaining("not you"),
  });
});

test("an answer that is no credential, and no token at all, are said clearly", async () => {
  answers.push({ status: 200, body: { hello: "world" } });
  await expect(Membership.open(await options())).rejects.toMatchObject({ code: "SETUP_FAILED" });
  await expect(Membership.open(await withoutToken())).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("BULKHEAD_JOIN_TOKEN_FILE"),
  });
});

test("a damaged key is refused, not replaced", async () => {
  await writeFile(join(directory.path, "key.container.json"), "{");
  await expect(Membership.open(await options())).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

test("joining another control plane at start is noticed", async () => {
  answers.push(credential(1), credential(2));
  await Membership.open(await options());
  const moved = await Membership.open(await options());
  expect([moved.left, moved.credential.clusterId]).toEqual([clusterId(1), clusterId(2)]);
});

test("a renewal takes a new token of the same control plane, keeps to it when there is another, and is not repeated", async () => {
  answers.push(credential(1, "first"), credential(1, "second"), credential(2, "foreign"));
  const membership = await Membership.open(await options());
  await Promise.all([membership.renew("test"), membership.renew("test")]);
  expect(membership.credential.httpToken).toBe("second");
  await membership.renew("too soon");
  expect(asked).toHaveLength(2);

  const other = await Membership.open(await options({ apiUrl: "http://127.0.0.1:1" }));
  expect(other.credential.httpToken).toBe("second");
  const saved = await readFile(join(directory.path, "credential.container.json"), "utf8");
  const here = await Membership.open(await options());
  expect(here.left).toBe(clusterId(1));
  expect(saved).toContain("second");
});
