import { execFile } from "node:child_process";
import { X509Certificate, sign } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Event, Image, Operation } from "@bulkhead/contracts";
import { digestOf, tarEnd, tarEntry } from "@bulkhead/images";
import {
  FakeRegistry,
  type RegistryImage,
  TokenServer,
  layoutBytes,
  registryImage,
  registryIndex,
} from "@bulkhead/testkit/images";
import { createLogger } from "@bulkhead/service";
import { DockerRegistry } from "@bulkhead/testkit/servers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openImageStore } from "./images/image-store.ts";
import { PullRunner } from "./images/pull-runner.ts";
import { TestFleet, adminToken, workload } from "./testing/test-fleet.ts";

const execute = promisify(execFile);
const issuer = { service: "registry.test", issuer: "bulkhead-test" };

let directory: string;
let registry: DockerRegistry;
let tokens: TokenServer;
let withPassword: string;
let withTokens: string;
let fake: FakeRegistry;
let fleet: TestFleet;

/** A token as the distribution API's specification wants it, signed with the registry's own key. */
const tokenFor = ({ service, scope }: { service: string; scope: string }): string => {
  const { cert, key } = registry.certificates;
  const [type, name, actions = ""] = scope.split(":");
  const now = Math.floor(Date.now() / 1000);
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const x5c = [new X509Certificate(cert).raw.toString("base64")];
  const claims = {
    iss: issuer.issuer,
    sub: "ann",
    aud: service,
    exp: now + 300,
    nbf: now - 10,
    iat: now,
    jti: `${now}`,
  };
  const access = [{ type, name, actions: actions.split(",") }];
  const signed = `${part({ typ: "JWT", alg: "ES256", x5c })}.${part({ ...claims, access })}`;
  const signature = sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
};

const layer = Buffer.concat([tarEntry({ name: "etc/motd" }, "hello\n".repeat(20_000)), tarEnd]);
const made = layoutBytes({ layers: [layer], names: ["box:1"], config: { Env: ["A=1"] } });

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "bulkhead-image-pull-"));
  registry = await DockerRegistry.make();
  tokens = await TokenServer.start({ basic: `${registry.username}:${registry.password}`, make: tokenFor });
  withPassword = await registry.withPassword();
  withTokens = await registry.withTokens({ realm: tokens.url, ...issuer });
  fake = await FakeRegistry.start();
  const auth = Buffer.from(`${registry.username}:${registry.password}`).toString("base64");
  const files = {
    "auth.json": { auths: { [withPassword]: { auth }, [withTokens]: { auth } } },
    "settings.json": {
      registries: {
        [withPassword]: { caFile: registry.certificates.caFile },
        [withTokens]: { caFile: registry.certificates.caFile },
      },
    },
    "policy.json": {
      rules: [
        { match: `${fake.host}/forbidden:*`, refuse: "it is forbidden" },
        { match: "archive:forbidden*", refuse: "archives too" },
        { match: "**", accept: true },
      ],
    },
  };
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(directory, name), JSON.stringify(content), { mode: 0o600 });
  }
  fleet = await TestFleet.start({
    images: {
      settingsFile: join(directory, "settings.json"),
      credentialsFile: join(directory, "auth.json"),
      policyFile: join(directory, "policy.json"),
      times: { pace: { windowMs: 2_000, minBytes: 1 }, deadlineMs: 4_000, mirrorDeadlineMs: 1_000 },
    },
  });
  await writeFile(join(directory, "box.tar"), made.archive);
  await registry.push(`oci-archive:${join(directory, "box.tar")}`, `${withPassword}/team/box:1`);
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  await fake[Symbol.asyncDispose]();
  await tokens[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

const begin = async (
  reference: string,
  more: object = {},
  headers: Record<string, string> = {},
): Promise<Operation> => {
  const { status, body } = await fleet.call<Operation>("POST", "/v1/images", { body: { reference, ...more }, headers });
  expect([status, body.kind, body.state]).toEqual([202, "image.pull", "running"]);
  return body;
};

const ended = async ({ id }: Operation): Promise<Operation> =>
  (await fleet.call<Operation>("GET", `/v1/operations/${id}/wait?timeoutMs=30000`)).body;

const pull = async (reference: string, more: object = {}): Promise<Operation> => ended(await begin(reference, more));

const imageOf = async (name: string): Promise<Image> =>
  (await fleet.call<Image>("GET", `/v1/images/${encodeURIComponent(name)}`)).body;

/** Every event there is that fits. */
const eventsThat = async (fits: (event: Event) => boolean): Promise<Event[]> => {
  const headers = { authorization: `Bearer ${adminToken}` };
  const answer = await fetch(`${fleet.url}/v1/events?since=0&follow=false`, { headers });
  const lines = (await answer.text()).split("\n").filter((line) => line.startsWith("data: "));
  return lines.map((line) => JSON.parse(line.slice("data: ".length)) as Event).filter(fits);
};

describe("Debian's registry with TLS", () => {
  test("and a password: the image is there by its reference, its digest and as a workload's image", async () => {
    const reference = `${withPassword}/team/box:1`;
    const operation = await pull(reference);
    expect(operation).toMatchObject({ state: "succeeded", error: null, target: { type: "image", id: reference } });
    expect(operation.layers).toEqual([expect.objectContaining({ state: "ready" })]);
    const image = await imageOf(reference);
    expect(image).toMatchObject({ source: reference, names: [reference], config: { env: ["A=1"] } });
    expect((await imageOf(image.digest)).names).toEqual([reference]);
    const created = await fleet.call("POST", "/v1/workloads", { body: workload("pulled", { image: reference }) });
    expect(created.status).toBe(202);
  });

  test("and tokens, with zstd layers and Docker's media types", async () => {
    await registry.push(`oci-archive:${join(directory, "box.tar")}`, `${withPassword}/team/zstd:1`, [
      "--dest-compress-format=zstd",
    ]);
    await registry.push(`oci-archive:${join(directory, "box.tar")}`, `${withPassword}/team/docker:1`, [
      "--format=v2s2",
    ]);
    for (const name of ["zstd", "docker"]) {
      expect(await pull(`${withTokens}/team/${name}:1`, { name: `${name}:1` })).toMatchObject({ state: "succeeded" });
      expect((await imageOf(`${name}:1`)).config.env).toEqual(["A=1"]);
    }
    const asked = new Set(tokens.requests.map(({ scope }) => scope));
    expect([...asked]).toEqual(["repository:team/zstd:pull", "repository:team/docker:pull"]);
  });

  test("an index for several platforms", async () => {
    const arm = layoutBytes({ layers: [layer], platform: { os: "linux", architecture: "arm64" } });
    await writeFile(join(directory, "arm.tar"), arm.archive);
    await registry.push(`oci-archive:${join(directory, "arm.tar")}`, `${withPassword}/team/box:arm`);
    const manifestOf = async (tag: string) =>
      Buffer.from(await curl(`https://${withPassword}/v2/team/box/manifests/${tag}`, ["-H", `Accept: ${ociManifest}`]));
    const entry = async (tag: string, architecture: string) => {
      const manifest = await manifestOf(tag);
      const image = { manifest, digest: digestOf(manifest), mediaType: ociManifest, blobs: new Map(), layers: [] };
      return { image, platform: { os: "linux", architecture } };
    };
    const [ours, theirs] = [await entry("1", "amd64"), await entry("arm", "arm64")];
    for (const [tag, entries] of [
      ["many", [theirs, ours]],
      ["few", [theirs]],
    ] as const) {
      await writeFile(join(directory, "index.json"), registryIndex(entries));
      const body = [
        "-X",
        "PUT",
        "-H",
        `Content-Type: ${ociIndex}`,
        "--data-binary",
        `@${join(directory, "index.json")}`,
      ];
      await curl(`https://${withPassword}/v2/team/box/manifests/${tag}`, body);
    }
    expect(await pull(`${withPassword}/team/box:many`)).toMatchObject({ state: "succeeded" });
    expect((await imageOf(`${withPassword}/team/box:many`)).digest).toBe(ours.image.digest);
    expect((await pull(`${withPassword}/team/box:few`)).error).toMatchObject({
      code: "IMAGE_PLATFORM_MISSING",
      detail: expect.stringContaining("it has linux/arm64."),
    });
  });

  test("what buildah builds and pushes", async () => {
    const storage = ["--storage-driver", "vfs", "--root", join(directory, "root"), "--runroot", join(directory, "run")];
    const buildah = async (...words: string[]) => (await execute("buildah", [...storage, ...words])).stdout.trim();
    const container = await buildah("from", "scratch");
    await writeFile(join(directory, "hello"), "built\n");
    await buildah("copy", container, join(directory, "hello"), "/etc/hello");
    await buildah("config", "--env", "BUILT=1", "--cmd", "/bin/sh", "--stop-signal", "SIGUSR1", container);
    const { trustDirectory } = registry.certificates;
    const target = `docker://${withPassword}/team/built:1`;
    const credential = ["--creds", `${registry.username}:${registry.password}`, "--cert-dir", trustDirectory];
    await buildah("commit", "-q", ...credential, container, target);
    expect(await pull(`${withPassword}/team/built:1`, { name: "built" })).toMatchObject({ state: "succeeded" });
    expect((await imageOf("built")).config).toMatchObject({
      env: expect.arrayContaining(["BUILT=1"]),
      cmd: ["/bin/sh"],
    });
  });

  test("whose certificate nobody vouches for, or whose password is another, is refused at once", async () => {
    const began = performance.now();
    const localhost = withPassword.replace("127.0.0.1", "localhost");
    await using other = await TestFleetFiles.write({ registries: { [localhost]: { plainHttp: false } } });
    const strict = await other.pull(`${localhost}/team/box:1`);
    expect(strict).toMatchObject({ code: "REGISTRY_UNAVAILABLE", message: expect.stringContaining("certificate") });
    await using wrong = await TestFleetFiles.write(
      { registries: { [withPassword]: { caFile: registry.certificates.caFile } } },
      { auths: { [withPassword]: { username: "ann", password: "wrong" } } },
    );
    expect(await wrong.pull(`${withPassword}/team/box:1`)).toMatchObject({ code: "REGISTRY_DENIED" });
    expect(performance.now() - began).toBeLessThan(4_000);
  });
});

const ociManifest = "application/vnd.oci.image.manifest.v1+json";
const ociIndex = "application/vnd.oci.image.index.v1+json";

const curl = async (url: string, words: readonly string[]): Promise<string> => {
  const { caFile } = registry.certificates;
  const credential = `${registry.username}:${registry.password}`;
  return (await execute("curl", ["-sSf", "--cacert", caFile, "-u", credential, ...words, url])).stdout;
};

/** An image store of its own with other files, without a fleet. */
class TestFleetFiles implements AsyncDisposable {
  readonly #directory: string;

  private constructor(path: string) {
    this.#directory = path;
  }

  static async write(settings: object, credentials: object = {}): Promise<TestFleetFiles> {
    const path = await mkdtemp(join(tmpdir(), "bulkhead-image-pull-"));
    await writeFile(join(path, "settings.json"), JSON.stringify(settings));
    await writeFile(join(path, "auth.json"), JSON.stringify(credentials), { mode: 0o600 });
    return new TestFleetFiles(path);
  }

  async pull(reference: string): Promise<unknown> {
    const store = await openImageStore({
      root: this.#directory,
      maxBytes: 2 ** 30,
      settingsFile: join(this.#directory, "settings.json"),
      credentialsFile: join(this.#directory, "auth.json"),
    });
    const { signal } = new AbortController();
    const pulling = store.pull({ reference, project: "default", signal, onProgress: () => undefined });
    return pulling.catch((error: unknown) => error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}

describe("an operation", () => {
  const image = registryImage({
    layers: [Buffer.alloc(100_000, "a"), Buffer.alloc(100_000, "b")],
    compression: "none",
  });

  /** Holds an image's first layer back after 60,000 bytes, until released. */
  const hold = ({ digest: itself, layers: [digest = itself], blobs }: RegistryImage) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const bytes = blobs.get(digest) ?? Buffer.alloc(0);
    fake.intercept = (request, response) => {
      if (request.url?.includes(digest) !== true || request.headers.range !== undefined) return false;
      response.writeHead(200, { "content-length": bytes.byteLength });
      response.write(bytes.subarray(0, 60_000));
      void promise.then(() => response.end(bytes.subarray(60_000)));
      return true;
    };
    return resolve;
  };

  test("shows each layer while the pull goes on, and events tell of each state", async () => {
    const release = hold(image);
    const operation = await begin(fake.add(image, "shown:1"));
    const look = async () => (await fleet.call<Operation>("GET", `/v1/operations/${operation.id}`)).body;
    await expect
      .poll(async () => (await look()).layers?.map(({ state, doneBytes }) => [state, doneBytes]), { timeout: 10_000 })
      .toEqual([
        ["fetching", 60_000],
        ["ready", 100_000],
      ]);
    expect((await look()).progress).toMatch(/^1 of 2 layers, 0\.2 of 0\.2 MiB$/);
    release();
    fake.intercept = () => false;
    expect(await ended(operation)).toMatchObject({ state: "succeeded", progress: null });
    const told = (await eventsThat(({ data }) => data["operationId"] === operation.id)).map(
      ({ type, data }) => `${type} ${String(data["state"])}`,
    );
    expect(told.filter((line) => line === "image.layer ready")).toHaveLength(2);
    expect(told).toContain("image.layer fetching");
    expect(told.at(-1)).toBe("operation.finished succeeded");
    const pulled = await eventsThat(({ type }) => type === "image.pulled");
    expect(pulled.map(({ data }) => data["source"])).toContain(`${fake.host}/shown:1`);
    expect(await fleet.query("SELECT count(*)::int AS n FROM audit WHERE verb = 'image.pull'")).not.toEqual([{ n: 0 }]);
  });

  test("is taken over from a scheduler that died, with what had arrived", async () => {
    const another = registryImage({ layers: [Buffer.alloc(100_000, "q")], compression: "none" });
    const release = hold(another);
    const operation = await begin(fake.add(another, "taken:1"));
    await expect.poll(() => fake.asked(another.layers[0] ?? "-").length, { timeout: 10_000 }).toBe(1);
    // As after kill -9: the row is held by somebody who never beats again. The first holder hears it and lets go.
    await fleet.query(`UPDATE image_pull SET holder = 'dead', beat_at = now() - interval '1 hour'`);
    const { images, inventory, control } = fleet;
    const log = createLogger({ service: "test", level: "error" });
    await using _second = new PullRunner({ images, inventory: inventory.api, log, onWritten: () => control.wake() });
    expect(await ended(operation)).toMatchObject({ state: "succeeded" });
    release();
    fake.intercept = () => false;
    expect(fake.asked(another.layers[0] ?? "-").map(({ headers }) => headers.range)).toEqual([
      undefined,
      "bytes=60000-",
    ]);
    expect(await fleet.query("SELECT operation_id FROM image_pull")).toEqual([]);
  });

  test("that cannot succeed says why, and nothing is recorded", async () => {
    const missing = await pull(`${fake.host}/none:1`);
    expect(missing).toMatchObject({ state: "failed", error: { code: "IMAGE_UNAVAILABLE", status: 404 } });
    expect(missing.error?.traceId).toBe(missing.traceId);
    const refused = await pull(fake.add(image, "forbidden:1"));
    expect(refused.error).toMatchObject({ code: "IMAGE_REFUSED", detail: expect.stringContaining("it is forbidden") });
    expect((await fleet.call("GET", `/v1/images/${encodeURIComponent(`${fake.host}/forbidden:1`)}`)).status).toBe(404);
  });

  test("is begun once per Idempotency-Key", async () => {
    const reference = fake.add(image, "once:1");
    const headers = { "idempotency-key": "pull-once" };
    const [one, two] = [await begin(reference, {}, headers), await begin(reference, {}, headers)];
    expect(two.id).toBe(one.id);
    const { body } = await fleet.call("POST", "/v1/images", { body: { reference, name: "x" }, headers });
    expect(body.code).toBe("IDEMPOTENCY_MISMATCH");
    await ended(one);
  });
});

describe("requests", () => {
  test.each([
    [{}, "/reference"],
    [{ reference: 7 }, "/reference"],
    [{ reference: "UPPER" }, "/reference"],
    [{ reference: "https://r.example/app" }, "/reference"],
    [{ reference: "app", name: "Not A Name" }, "/name"],
    [{ reference: `app@sha256:${"0".repeat(64)}` }, "/name"],
    [{ reference: "app", tag: "1" }, "/tag"],
  ])("%j is REQUEST_INVALID at %s", async (body, pointer) => {
    const before = await fleet.query("SELECT count(*) FROM operation");
    const answer = await fleet.call("POST", "/v1/images", { body });
    expect([answer.status, answer.body.code]).toEqual([400, "REQUEST_INVALID"]);
    expect(answer.body.errors?.map((error) => error.pointer)).toContain(pointer);
    expect(await fleet.query("SELECT count(*) FROM operation")).toEqual(before);
  });

  test("a body larger than a reference can be is refused", async () => {
    const { status, body } = await fleet.call("POST", "/v1/images", { body: { reference: "a".repeat(100_000) } });
    expect([status, body.code]).toEqual([413, "BODY_TOO_LARGE"]);
  });

  test("the policy holds for archives too", async () => {
    const answer = await fetch(`${fleet.url}/v1/images?name=forbidden`, {
      method: "POST",
      headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/x-tar" },
      body: new Uint8Array(made.archive),
    });
    expect(await answer.json()).toMatchObject({
      code: "IMAGE_REFUSED",
      detail: expect.stringContaining("archives too"),
    });
  });
});
