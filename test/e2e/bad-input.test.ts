import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import {
  busyboxImage,
  corruptArchive,
  corruptArchives,
  symlinkedDirectoryImage,
  type CorruptKind,
} from "@bulkhead/testkit/images";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startFleet, type Fleet } from "../fleet.ts";

const resources = { cpuMillis: 100, memoryBytes: 32 * 1024 * 1024, pidsMax: 32 };
const spec = { image: "busybox", command: ["sleep", "100000"], resources };

interface ProblemBody {
  readonly code: string;
  readonly detail: string;
  readonly errors?: readonly { pointer: string; message: string }[];
  readonly nearestFeasible?: Record<string, unknown>;
  readonly hosts?: readonly { reason: string }[];
}

describe("bad input", () => {
  let fleet: Fleet;
  let canary: string;

  beforeAll(async () => {
    fleet = await startFleet();
    canary = mkdtempSync("/tmp/bulkhead-canary-");
    writeFileSync(join(canary, "witness"), "untouched");
    await fleet.importImage("busybox", await busyboxImage());
  });
  afterAll(async () => {
    rmSync(canary, { recursive: true, force: true });
    await fleet[Symbol.asyncDispose]();
  });

  const workloads = async (): Promise<number> =>
    ((await fleet.http("GET", "/v1/workloads")).body as { items: unknown[] }).items.length;

  const refused = async (body: unknown): Promise<ProblemBody & { status: number }> => {
    const before = await workloads();
    const answer = await fleet.http("POST", "/v1/workloads", { body });
    expect(answer.headers.get("content-type")).toContain("application/problem+json");
    expect(await workloads(), "nothing was written").toBe(before);
    return { ...(answer.body as ProblemBody), status: answer.status };
  };

  test.each([
    ["an unknown field", { name: "a", spec: { ...spec, memory: 5 } }, "/spec/memory"],
    ["a missing image", { name: "a", spec: { resources } }, "/spec/image"],
    ["a bad name", { name: "A_b", spec }, "/name"],
    [
      "memory of zero",
      { name: "a", spec: { ...spec, resources: { ...resources, memoryBytes: 0 } } },
      "/spec/resources/memoryBytes",
    ],
    [
      "a negative CPU",
      { name: "a", spec: { ...spec, resources: { ...resources, cpuMillis: -1 } } },
      "/spec/resources/cpuMillis",
    ],
    [
      "a string for a number",
      { name: "a", spec: { ...spec, resources: { ...resources, cpuMillis: "500" } } },
      "/spec/resources/cpuMillis",
    ],
    [
      "a mount target twice",
      {
        name: "a",
        spec: {
          ...spec,
          mounts: [
            { hostPath: "/a", path: "/x" },
            { hostPath: "/b", path: "/x" },
          ],
        },
      },
      "/spec/mounts/1/path",
    ],
    [
      "a mount path with ..",
      { name: "a", spec: { ...spec, mounts: [{ hostPath: "/srv/../etc", path: "/x" }] } },
      "/spec/mounts/0/hostPath",
    ],
  ])("%s: a problem with code and pointer, nothing written", async (_, body, pointer) => {
    const problem = await refused(body);
    expect(problem.status).toBeGreaterThanOrEqual(400);
    expect(problem.status).toBeLessThan(500);
    expect(problem.errors?.map((error) => error.pointer)).toContain(pointer);
  });

  test("text that is not JSON", async () => {
    const answer = await fleet.http("POST", "/v1/workloads", {
      raw: "{",
      headers: { "content-type": "application/json" },
    });
    expect(answer).toMatchObject({ status: 400, body: { code: "REQUEST_INVALID" } });
  });

  test("no token, a wrong token", async () => {
    expect(await fleet.http("GET", "/v1/workloads", { headers: { authorization: "" } })).toMatchObject({
      status: 401,
      body: { code: "UNAUTHENTICATED" },
    });
    expect(await fleet.http("GET", "/v1/workloads", { headers: { authorization: "Bearer nope" } })).toMatchObject({
      status: 401,
    });
  });

  test("more CPUs than the host has: refused, with the most that could work", async () => {
    const wanted = { ...resources, cpuMillis: (cpus().length + 1) * 1000 };
    const problem = await refused({ name: "wide", spec: { ...spec, resources: wanted } });
    expect(problem).toMatchObject({ code: "LIMIT_INFEASIBLE", status: 422 });
    expect(problem.nearestFeasible).toBeDefined();
    const [nearest] = Object.values(problem.nearestFeasible ?? {});
    expect(Number(nearest)).toBeGreaterThan(0);
    expect(Number(nearest)).toBeLessThanOrEqual(cpus().length * 1000);
  });

  test("an image that nobody imported", async () => {
    expect(await refused({ name: "a", spec: { ...spec, image: "no-such-image" } })).toMatchObject({
      code: "IMAGE_UNAVAILABLE",
    });
  });

  test("a host path outside the agent's allow-list never reaches an instance", async () => {
    const answer = await fleet.http("POST", "/v1/workloads", {
      body: {
        name: "greedy",
        spec: { ...spec, restart: { policy: "never" }, mounts: [{ hostPath: canary, path: "/host", readOnly: false }] },
      },
    });
    expect(answer.status).toBe(202);
    await fleet.until(
      async () => (await fleet.instance("greedy-0")).rejections.length > 0,
      "it was said why no host takes it",
    );
    const instance = await fleet.instance("greedy-0");
    expect(instance).toMatchObject({ state: "pending", hostId: null });
    expect(instance.rejections[0]?.reason).toMatch(/mount|allow/i);
    await fleet.remove("greedy");
    expect(readdirSync(canary)).toEqual(["witness"]);
  });

  test("a symbolic link below the allowed directory does not lead out of it", async () => {
    const inside = mkdtempSync(join(fleet.sharedDirectory, "link-"));
    execFileSync("ln", ["-s", canary, join(inside, "out")]);
    await fleet.create("linked", {
      ...spec,
      restart: { policy: "never" },
      mounts: [{ hostPath: join(inside, "out"), path: "/host", readOnly: false }],
    });
    expect(await fleet.waitFor("linked-0", "failed")).toMatchObject({ reason: "MountNotAllowed" });
    await fleet.remove("linked");
  });

  const importCorrupt = (kind: string): ReturnType<Fleet["http"]> =>
    fleet.http("POST", `/v1/images?name=bad-${kind}`, {
      raw: new Uint8Array(corruptArchive(kind as CorruptKind, { outside: canary })),
      headers: { "content-type": "application/x-tar" },
    });

  const expectCanary = (): void => {
    expect(readFileSync(join(canary, "witness"), "utf8")).toBe("untouched");
    expect(readdirSync(canary)).toEqual(["witness"]);
  };

  const corrupt = Object.entries(corruptArchives).map(([kind, { refusedAt, code }]) => ({ kind, refusedAt, code }));

  test.each(corrupt.filter(({ refusedAt }) => refusedAt === "import"))(
    "an archive with $kind is refused at import",
    async ({ kind, code }) => {
      expect((await importCorrupt(kind)).body).toMatchObject({ code });
      expectCanary();
    },
  );

  test.each(corrupt.filter(({ refusedAt }) => refusedAt !== "import"))(
    "an image with $kind is refused on the host or contained, and reaches nothing",
    async ({ kind, refusedAt }) => {
      expect((await importCorrupt(kind)).status).toBe(201);
      await fleet.create(`run-${kind}`, {
        ...spec,
        image: `bad-${kind}`,
        command: ["/bin/true"],
        restart: { policy: "never" },
      });
      const ended = await fleet.waitFor(`run-${kind}-0`, "failed");
      expect(ended.reason).toBe(refusedAt === "unpack" ? "ImageInvalid" : "EntrypointNotFound");
      await fleet.remove(`run-${kind}`);
      expectCanary();
    },
  );

  test.each(["/dev", "/proc", "/sys", "/etc"] as const)(
    "an image whose %s is a link to the outside",
    async (directory) => {
      const name = `outside-${directory.slice(1)}`;
      await fleet.importImage(name, await symlinkedDirectoryImage(directory, canary));
      await fleet.create(name, { ...spec, image: name, command: ["/bin/true"], restart: { policy: "never" } });
      await fleet.until(
        async () => ["failed", "stopped"].includes((await fleet.instance(`${name}-0`)).state),
        "it ended",
      );
      expect(readdirSync(canary)).toEqual(["witness"]);
      expect(existsSync(join(canary, "null"))).toBe(false);
      await fleet.remove(name);
    },
  );

  test("the host still runs what it should", async () => {
    await fleet.run("fine", spec);
    expect((await fleet.exec("fine-0", ["echo", "ok"])).stdout).toBe("ok\n");
    await fleet.remove("fine");
  });
});
