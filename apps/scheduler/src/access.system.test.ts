import { randomBytes } from "node:crypto";
import { type HostCredential, type HostId, type Token, uuidV7 } from "@bulkhead/contracts";
import { makeUserKey } from "@bulkhead/bus";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testFacts } from "./testing/fake-agent.ts";
import { TestFleet, workload } from "./testing/test-fleet.ts";

let fleet: TestFleet;
beforeAll(async () => {
  fleet = await TestFleet.start();
  await fleet.addImage("app");
  await fleet.addImage("app", "blue");
});
afterAll(() => fleet[Symbol.asyncDispose]());

const token = async (role: string, project?: string): Promise<Token & { secret: string }> => {
  const { status, body } = await fleet.call<Token & { secret: string }>("POST", "/v1/tokens", {
    body: { name: `${role} of ${project ?? "all"}`, role, ...(project === undefined ? {} : { project }) },
  });
  expect(status).toBe(201);
  return body;
};

describe("roles", () => {
  test("a viewer reads, an editor changes, both in their project alone", async () => {
    const viewer = await token("viewer", "blue");
    const editor = await token("editor", "blue");
    const as = (who: Token & { secret: string }) => ({ token: who.secret });
    expect((await fleet.call("POST", "/v1/workloads", { body: workload("w"), ...as(viewer) })).body.code).toBe(
      "FORBIDDEN",
    );
    expect((await fleet.call("POST", "/v1/workloads", { body: workload("w"), ...as(editor) })).status).toBe(202);
    expect((await fleet.call<{ project: string }>("GET", "/v1/workloads/w", as(viewer))).body.project).toBe("blue");
    expect((await fleet.call("GET", "/v1/workloads/w")).status).toBe(404);
    const elsewhere = { ...as(editor), headers: { "bulkhead-project": "default" } };
    expect((await fleet.call("GET", "/v1/workloads", elsewhere)).body.code).toBe("FORBIDDEN");
    expect(
      (await fleet.call("GET", "/v1/workloads", { ...as(editor), headers: { "bulkhead-project": "*" } })).status,
    ).toBe(400);
    expect((await fleet.call("GET", "/v1/tokens", as(editor))).status).toBe(403);
    expect((await fleet.call("PATCH", "/v1/hosts/x", { body: { cordoned: true }, ...as(editor) })).status).toBe(403);
  });

  test("operations are seen by their project and by administrators", async () => {
    const editor = await token("editor", "blue");
    const other = await token("viewer", "red");
    const made = await fleet.call<{ id: string }>("POST", "/v1/workloads", {
      body: workload("mine"),
      token: editor.secret,
    });
    const path = `/v1/operations/${made.body.id}`;
    expect((await fleet.call("GET", path, { token: editor.secret })).status).toBe(200);
    expect((await fleet.call("GET", path)).status).toBe(200);
    expect((await fleet.call("GET", path, { token: other.secret })).status).toBe(404);
  });

  test("a token needs the project its role needs", async () => {
    for (const body of [
      { name: "x", role: "editor" },
      { name: "x", role: "admin", project: "blue" },
    ]) {
      expect((await fleet.call("POST", "/v1/tokens", { body })).body.errors?.[0]?.pointer).toBe("/project");
    }
    expect((await fleet.call("POST", "/v1/tokens", { body: { name: "x", role: "agent" } })).status).toBe(400);
  });

  test("a revoked token is refused at once; secrets are stored as hashes and shown once", async () => {
    const admin = await token("admin");
    expect((await fleet.call("GET", "/v1", { token: admin.secret })).status).toBe(200);
    expect((await fleet.call<Token>("DELETE", `/v1/tokens/${admin.id}`)).body.revokedAt).not.toBeNull();
    expect((await fleet.call("GET", "/v1", { token: admin.secret })).body.code).toBe("UNAUTHENTICATED");
    const list = await fleet.call("GET", "/v1/tokens");
    expect(JSON.stringify(list.body)).not.toContain(admin.secret);
    const rows = await fleet.query("SELECT * FROM token");
    expect(JSON.stringify(rows)).not.toContain(admin.secret);
  });

  test("a repeated creation shows the token but not its secret", async () => {
    const body = { name: "once", role: "join" };
    const headers = { "idempotency-key": "token" };
    const first = await fleet.call<Token>("POST", "/v1/tokens", { body, headers });
    const second = await fleet.call<Token>("POST", "/v1/tokens", { body, headers });
    expect([second.body.id, second.body.secret]).toEqual([first.body.id, undefined]);
    expect(first.body.secret).toMatch(/^bulkhead_/);
  });
});

describe("joining", () => {
  const hostId = uuidV7(Date.now(), randomBytes(10)) as HostId;
  const join = (publicKey: string, options: { token?: string; name?: string; hostId?: HostId } = {}) =>
    fleet.call<HostCredential>("POST", "/internal/hosts/join", {
      body: {
        hostId: options.hostId ?? hostId,
        name: options.name ?? "node",
        isolation: "container",
        publicKey,
        facts: testFacts(),
      },
      ...(options.token === undefined ? {} : { token: options.token }),
    });

  test("with a join token; the same key may come again, another needs an administrator", async () => {
    const joiner = await token("join");
    const { publicKey } = makeUserKey();
    const first = await join(publicKey, { token: joiner.secret });
    expect([first.status, first.body.natsUrl]).toEqual([201, fleet.nats.url]);
    const again = await join(publicKey, { token: joiner.secret });
    expect([again.status, again.body.clusterId]).toEqual([201, first.body.clusterId]);
    await fleet.scheduler.app.inject("/healthz");
    expect((await fleet.call("GET", "/v2/", { token: again.body.httpToken })).status).toBe(200);
    const thief = makeUserKey().publicKey;
    expect((await join(thief, { token: joiner.secret })).status).toBe(403);
    expect((await join(thief)).status).toBe(201);
    expect((await fleet.call("GET", "/v1/workloads", { token: joiner.secret })).status).toBe(403);
  });

  test("a name that another host has is refused", async () => {
    const other = uuidV7(Date.now(), randomBytes(10)) as HostId;
    const { status, body } = await join(makeUserKey().publicKey, { hostId: other });
    expect([status, (body as unknown as { code: string }).code]).toEqual([409, "NAME_TAKEN"]);
  });
});

describe("hosts", () => {
  test("are listed, cordoned and labelled; a cordoned host takes nothing", async () => {
    const agent = await fleet.addHost("labelled");
    const read = await fleet.call<{ version: number }>("GET", `/v1/hosts/${agent.hostId}`);
    const etag = read.headers.get("etag") ?? "";
    const patched = await fleet.call("PATCH", "/v1/hosts/labelled", {
      body: { cordoned: true, labels: { zone: "b" } },
      headers: { "if-match": etag },
    });
    expect(patched.body).toMatchObject({ name: "labelled", cordoned: true, labels: { zone: "b" } });
    expect(
      (await fleet.call("PATCH", "/v1/hosts/labelled", { body: { cordoned: false }, headers: { "if-match": etag } }))
        .status,
    ).toBe(412);
    const plan = await fleet.call("POST", "/v1/workloads?dryRun=true", {
      body: workload("p", { constraints: { hostLabels: { zone: "b" } } }),
    });
    expect(plan.body).toMatchObject({ placements: [] });
    const bare = await fleet.call("PATCH", "/v1/hosts/labelled", { body: { cordoned: false, labels: { zone: null } } });
    expect(bare.body).toMatchObject({ cordoned: false, labels: {} });
    const list = await fleet.call<{ items: { name: string }[] }>("GET", "/v1/hosts");
    expect(list.body.items.map(({ name }) => name)).toContain("labelled");
    expect((await fleet.call("GET", "/v1/hosts/nowhere")).status).toBe(404);
  });
});
