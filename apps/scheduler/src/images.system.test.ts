import { createHash } from "node:crypto";
import {
  type HostCredential,
  type HostId,
  type Image,
  type Operation,
  type Problem,
  uuidV7,
} from "@bulkhead/contracts";
import { makeUserKey } from "@bulkhead/bus";
import { HttpBlobFetcher, tarEnd, tarEntry } from "@bulkhead/images";
import { corruptArchive, corruptArchives, layoutBytes } from "@bulkhead/testkit/images";
import { randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testFacts } from "./testing/fake-agent.ts";
import { TestFleet, adminToken, workload } from "./testing/test-fleet.ts";

let fleet: TestFleet;
let agentToken: string;
beforeAll(async () => {
  fleet = await TestFleet.start({ imageMaxBytes: 16 * 2 ** 20 });
  const hostId = uuidV7(Date.now(), randomBytes(10)) as HostId;
  const { publicKey } = makeUserKey();
  const { body } = await fleet.call<HostCredential>("POST", "/internal/hosts/join", {
    body: { hostId, name: "puller", isolation: "container", publicKey, facts: testFacts() },
  });
  agentToken = body.httpToken;
});
afterAll(() => fleet[Symbol.asyncDispose]());

const layer = Buffer.concat([tarEntry({ name: "etc/motd" }, "hello\n".repeat(20_000)), tarEnd]);
const made = layoutBytes({ layers: [layer], names: ["box:1"], config: { Env: ["A=1"] } });

const send = async (query: string, body: Buffer, headers: Record<string, string> = {}) => {
  const answer = await fetch(`${fleet.url}/v1/images${query}`, {
    method: "POST",
    headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/x-tar", ...headers },
    body: new Uint8Array(body),
  });
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Image & Problem };
};

const pull = (path: string, headers: Record<string, string> = {}, method = "GET") =>
  fetch(`${fleet.url}/v2/default/${path}`, { method, headers: { authorization: `Bearer ${agentToken}`, ...headers } });

describe("import", () => {
  test("answers 201 with the image, findable by name, tag and digest", async () => {
    const { status, headers, body } = await send("?name=team/box", made.archive);
    expect(status).toBe(201);
    expect(headers.get("location")).toBe(`/v1/images/${made.manifestDigest}`);
    expect(body).toMatchObject({
      digest: made.manifestDigest,
      project: "default",
      names: ["team/box:latest"],
      config: { env: ["A=1"], cmd: ["/bin/sh"] },
    });
    for (const reference of ["team%2Fbox", "team%2Fbox:latest", made.manifestDigest]) {
      expect((await fleet.call<Image>("GET", `/v1/images/${reference}`)).body.digest).toBe(made.manifestDigest);
    }
    const list = await fleet.call<{ items: Image[] }>("GET", "/v1/images");
    expect(list.body.items.map(({ digest }) => digest)).toEqual([made.manifestDigest]);
  });

  test("without a name takes the archive's own; a second import moves a name", async () => {
    expect((await send("", made.archive)).body.names).toEqual(["box:1", "team/box:latest"]);
    const other = layoutBytes({ layers: [layer], names: ["box:1"], config: { Env: ["A=2"] } });
    expect((await send("", other.archive)).body.names).toEqual(["box:1"]);
    expect((await fleet.call<Image>("GET", "/v1/images/box:1")).body.digest).toBe(other.manifestDigest);
  });

  test("is done once per Idempotency-Key, whose body is the archive", async () => {
    const key = { "idempotency-key": "import" };
    const first = await send("?name=once", made.archive, key);
    const second = await send("?name=once", made.archive, key);
    expect([second.status, second.headers.get("idempotency-replayed")]).toEqual([201, "true"]);
    expect(second.body).toEqual(first.body);
    const other = layoutBytes({ layers: [layer], names: ["x:3"], config: { Env: ["A=3"] } });
    expect((await send("?name=once", other.archive, key)).body.code).toBe("IDEMPOTENCY_MISMATCH");
    expect((await fleet.call<Image>("GET", "/v1/images/once")).body.digest).toBe(made.manifestDigest);
  });

  const refusedAtImport = Object.entries(corruptArchives).filter(([, { refusedAt }]) => refusedAt === "import");
  test.each(refusedAtImport.map(([kind]) => kind as keyof typeof corruptArchives))(
    "%s is refused and leaves nothing",
    async (kind) => {
      const before = await fleet.query("SELECT count(*) FROM image");
      const { status, body } = await send("?name=bad", corruptArchive(kind, { outside: "/nowhere" }));
      expect([status, body.code]).toEqual([422, corruptArchives[kind].code]);
      expect(await fleet.query("SELECT count(*) FROM image")).toEqual(before);
    },
  );

  test("too much, another media type, no name, no body", async () => {
    const huge = await send("", Buffer.alloc(17 * 2 ** 20));
    expect([huge.status, ["BODY_TOO_LARGE", "IMAGE_TOO_LARGE"]]).toEqual([
      413,
      expect.arrayContaining([huge.body.code]),
    ]);
    expect((await send("", made.archive, { "content-type": "text/html" })).body.code).toBe("MEDIA_TYPE_UNSUPPORTED");
    expect((await send("", Buffer.from("{}"), { "content-type": "application/json" })).body.code).toBe(
      "REQUEST_INVALID",
    );
    expect((await send("?name=Not%20A%20Name", made.archive)).body.errors?.[0]?.pointer).toBe("/name");
    const none = await fleet.call("POST", "/v1/images");
    expect([none.status, none.body.code]).toEqual([415, "MEDIA_TYPE_UNSUPPORTED"]);
  });
});

describe("delete", () => {
  test("an image in use stays; one that is not goes", async () => {
    const own = layoutBytes({ layers: [layer], names: ["x:4"], config: { Env: ["A=4"] } });
    await send("?name=used", own.archive);
    const { body } = await fleet.call<Operation>("POST", "/v1/workloads", {
      body: workload("user", { image: "used" }),
    });
    const refused = await fleet.call("DELETE", "/v1/images/used");
    expect([refused.status, refused.body.code]).toEqual([409, "IMAGE_IN_USE"]);
    expect(refused.body.detail).toContain("user");
    expect((await fleet.call("DELETE", "/v1/images/used?dryRun=true")).body.code).toBe("IMAGE_IN_USE");
    await fleet.call("DELETE", "/v1/workloads/user");
    await fleet.call("GET", `/v1/operations/${body.id}/wait?timeoutMs=0`);
    await fleet.query("DELETE FROM workload WHERE name = 'user'");
    expect((await fleet.call("DELETE", "/v1/images/used?dryRun=true")).status).toBe(204);
    expect((await fleet.call("DELETE", "/v1/images/used")).status).toBe(204);
    expect((await fleet.call("DELETE", "/v1/images/used")).status).toBe(404);
  });
});

describe("what agents pull", () => {
  test("the fetcher of the agents gets manifest, config and layer", async () => {
    const fetcher = new HttpBlobFetcher({ baseUrl: fleet.url, repository: "default", token: () => agentToken });
    const signal = AbortSignal.timeout(10_000);
    expect(await buffer(await fetcher.fetch(made.manifestDigest, signal, "manifest"))).toEqual(made.manifest);
    const digest = `sha256:${createHash("sha256").update(layer).digest("hex")}` as const;
    expect(await buffer(await fetcher.fetch(digest as never, signal))).toEqual(layer);
  });

  test("ranges, heads and what is not there", async () => {
    const digest = `sha256:${createHash("sha256").update(layer).digest("hex")}`;
    const head = await pull(`blobs/${digest}`, {}, "HEAD");
    expect([head.status, head.headers.get("content-length")]).toEqual([200, String(layer.length)]);
    const rest = await pull(`blobs/${digest}`, { range: `bytes=${layer.length - 7}-` });
    expect([rest.status, rest.headers.get("content-range")]).toEqual([
      206,
      `bytes ${layer.length - 7}-${layer.length - 1}/${layer.length}`,
    ]);
    expect(Buffer.from(await rest.arrayBuffer())).toEqual(layer.subarray(-7));
    const middle = await pull(`blobs/${digest}`, { range: "bytes=512-515" });
    expect(Buffer.from(await middle.arrayBuffer())).toEqual(layer.subarray(512, 516));
    expect((await pull(`blobs/${digest}`, { range: `bytes=${layer.length}-` })).status).toBe(416);
    const missing = await pull(`blobs/sha256:${"0".repeat(64)}`);
    expect([missing.status, ((await missing.json()) as Problem).code]).toEqual([404, "IMAGE_UNAVAILABLE"]);
    expect((await pull("blobs/sha256:..%2F..%2Fetc")).status).toBe(400);
    const manifest = await pull(`manifests/${made.manifestDigest}`);
    expect(manifest.headers.get("content-type")).toContain("application/vnd.oci.image.manifest.v1+json");
  });

  test("an agent's token opens nothing else, and a project's token not this", async () => {
    expect((await fleet.call("GET", "/v1/workloads", { token: agentToken })).body.code).toBe("FORBIDDEN");
    expect((await fleet.call("GET", "/v2/", { token: agentToken })).status).toBe(200);
    const { body } = await fleet.call<{ secret: string }>("POST", "/v1/tokens", {
      body: { name: "e", role: "editor", project: "default" },
    });
    expect((await fleet.call("GET", "/v2/", { token: body.secret })).status).toBe(403);
  });

  test("blobs of deleted images go after an hour, never sooner and never those in use", async () => {
    expect(await fleet.images.collect(await fleet.inventory.api.read.allImageDigests())).toBe(0);
    expect((await pull(`manifests/${made.manifestDigest}`)).status).toBe(200);
  });
});
