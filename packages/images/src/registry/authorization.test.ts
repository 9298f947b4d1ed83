import { FakeRegistry, TokenServer, registryImage } from "@bulkhead/testkit/images";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PullRig, layerOf } from "../testing/pull-rig.ts";

let registry: FakeRegistry;
beforeEach(async () => {
  registry = await FakeRegistry.start();
});
afterEach(() => registry[Symbol.asyncDispose]());

const image = registryImage({ layers: [layerOf("a"), layerOf("b"), layerOf("c")] });
const basicOf = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;

/** Lets in who has a token of the server. */
const guard = (tokens: TokenServer) => {
  registry.intercept = (request, response) => {
    const [, token = ""] = /^Bearer (.+)$/.exec(request.headers.authorization ?? "") ?? [];
    if (tokens.valid.has(token)) return false;
    const challenge = `Bearer realm="${tokens.url}",service="registry.test",scope="repository:team/app:pull"`;
    response.writeHead(401, { "www-authenticate": challenge }).end();
    return true;
  };
};

const withAuth = (entry: object) => PullRig.open({ credentials: { auths: { [registry.host]: entry } } });

test("without a credential a token is asked for by name, once for all of an image", async () => {
  await using tokens = await TokenServer.start();
  guard(tokens);
  await using rig = await PullRig.open();
  await rig.pull(registry.add(image, "team/app:1"));
  expect(tokens.requests).toEqual([{ method: "GET", scope: "repository:team/app:pull", authorization: undefined }]);
});

test.each([
  ["username and password", { username: "ann", password: "s3cret:x" }],
  ["auth", { auth: Buffer.from("ann:s3cret:x").toString("base64") }],
])("a credential given as %s goes to the token server, and never to the registry", async (_, entry) => {
  await using tokens = await TokenServer.start({ basic: "ann:s3cret:x" });
  guard(tokens);
  await using rig = await withAuth(entry);
  await rig.pull(registry.add(image, "team/app:1"));
  expect(tokens.requests[0]?.authorization).toBe(basicOf("ann", "s3cret:x"));
  expect(registry.requests.some(({ headers }) => headers.authorization?.startsWith("Basic") === true)).toBe(false);
});

test("an identity token is exchanged by POST", async () => {
  await using tokens = await TokenServer.start({ identity: "refresh-me" });
  guard(tokens);
  await using rig = await withAuth({ identitytoken: "refresh-me" });
  await rig.pull(registry.add(image, "team/app:1"));
  expect(tokens.requests.map(({ method }) => method)).toEqual(["POST"]);
});

test("a token that is withdrawn in the middle of a pull is renewed", async () => {
  await using tokens = await TokenServer.start();
  guard(tokens);
  const [last = ""] = image.layers.slice(-1);
  const guarded = registry.intercept;
  let withdrawn = false;
  registry.intercept = (request, response) => {
    if (!withdrawn && request.url?.includes(last) === true) {
      withdrawn = true;
      tokens.valid.clear();
    }
    return guarded(request, response);
  };
  await using rig = await PullRig.open();
  expect((await rig.pull(registry.add(image, "team/app:1"))).manifestDigest).toBe(image.digest);
  expect(withdrawn).toBe(true);
  expect(tokens.requests.length).toBeGreaterThanOrEqual(2);
});

test("a token is renewed before it expires", async () => {
  await using tokens = await TokenServer.start({ expiresIn: 0.001 });
  guard(tokens);
  await using rig = await PullRig.open();
  await rig.pull(registry.add(image, "team/app:1"));
  // Each request finds the one before expired and asks anew, so only the first is ever refused.
  expect(registry.requests.filter(({ headers }) => headers.authorization === undefined)).toHaveLength(1);
  expect(tokens.requests.length).toBeGreaterThan(2);
});

test("a wrong password is REGISTRY_DENIED, and nothing repeats it", async () => {
  await using tokens = await TokenServer.start({ basic: "ann:right" });
  guard(tokens);
  await using rig = await withAuth({ username: "ann", password: "wr0ng-secret" });
  const refused = await rig.pull(registry.add(image, "team/app:1")).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: "REGISTRY_DENIED", message: expect.stringContaining("answered 401") });
  expect(JSON.stringify(refused, Object.getOwnPropertyNames(refused))).not.toContain("wr0ng-secret");
  expect(tokens.requests).toHaveLength(1);
});

test("basic authentication, with the right password and a wrong one", async () => {
  registry.intercept = (request, response) => {
    if (request.headers.authorization === basicOf("ann", "right")) return false;
    response.writeHead(401, { "www-authenticate": 'Basic realm="Registry Realm"' }).end();
    return true;
  };
  const reference = registry.add(image);
  await using rig = await withAuth({ username: "ann", password: "right" });
  expect((await rig.pull(reference)).manifestDigest).toBe(image.digest);
  expect(registry.requests.filter(({ headers }) => headers.authorization === undefined)).toHaveLength(1);
  for (const entry of [{ username: "ann", password: "wrong" }, {}]) {
    await using other = await withAuth(entry);
    await expect(other.pull(reference)).rejects.toMatchObject({ code: "REGISTRY_DENIED" });
  }
});

test.each([
  ["a realm that is no address", 'Bearer realm="nowhere"', "REGISTRY_UNAVAILABLE"],
  ["a realm without TLS elsewhere", 'Bearer realm="http://tokens.invalid/"', "REGISTRY_UNAVAILABLE"],
  ["a scheme nobody knows", "Negotiate", "REGISTRY_DENIED"],
  ["no challenge", "", "REGISTRY_DENIED"],
])("%s gets no credential", async (_, challenge, code) => {
  registry.intercept = (_request, response) => {
    response.writeHead(401, { "www-authenticate": challenge }).end();
    return true;
  };
  await using rig = await withAuth({ username: "ann", password: "right" });
  await expect(rig.pull(registry.add(image))).rejects.toMatchObject({ code });
});

test.each([
  ["no JSON", "<html>"],
  ["no token", "{}"],
  ["a token that would break the header", JSON.stringify({ token: "a\r\nx-evil: 1" })],
  ["too much", JSON.stringify({ token: "a".repeat(2 ** 20) })],
])("a token server that answers %s is REGISTRY_UNAVAILABLE", async (_, body) => {
  await using tokens = await FakeRegistry.start();
  tokens.intercept = (_request, response) => {
    response.end(body);
    return true;
  };
  registry.intercept = (_request, response) => {
    response.writeHead(401, { "www-authenticate": `Bearer realm="${tokens.url}/token"` }).end();
    return true;
  };
  await using rig = await PullRig.open();
  await expect(rig.pull(registry.add(image))).rejects.toMatchObject({ code: "REGISTRY_UNAVAILABLE" });
});
