import type { Image, Kernel, Operation, Problem, Workload } from "@bulkhead/contracts";
import { tarEnd, tarEntry } from "@bulkhead/images";
import { kernelFiles, kernelLayer, layoutBytes } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adminToken, TestFleet } from "./testing/test-fleet.ts";

let fleet: TestFleet;
let digests: { one: string; two: string };

const release = "6.1.0-9-test";

/** Imports an image of these layers. */
const send = async (name: string, layers: readonly Buffer[]): Promise<string> => {
  const { archive, manifestDigest } = layoutBytes({ layers, names: [name] });
  const answer = await fetch(`${fleet.url}/v1/images?name=${name}`, {
    method: "POST",
    headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/x-tar" },
    body: new Uint8Array(archive),
  });
  expect(answer.status).toBe(201);
  expect(((await answer.json()) as Image).digest).toBe(manifestDigest);
  return manifestDigest;
};

const register = (body: object, dryRun = "") => fleet.call<Kernel & Problem>("POST", `/v1/kernels${dryRun}`, { body });
const machine = (name: string, kernel?: string) =>
  fleet.call<Operation & Problem>("POST", "/v1/workloads", {
    body: {
      name,
      spec: {
        image: "box:1",
        isolation: "vm",
        resources: { cpuMillis: 100, memoryBytes: 2 ** 28 },
        ...(kernel === undefined ? {} : { vm: { kernel } }),
      },
    },
  });
const kernelIn = async (name: string) =>
  (await fleet.call<Workload>("GET", `/v1/workloads/${name}`)).body.spec.vm?.kernel;

beforeAll(async () => {
  fleet = await TestFleet.start();
  await send("box:1", [Buffer.concat([tarEntry({ name: "etc/motd" }, "hello\n"), tarEnd])]);
  digests = {
    one: await send("one:1", [kernelLayer(kernelFiles(release))]),
    two: await send("two:1", [kernelLayer(kernelFiles("6.1.0-10-test"))]),
  };
});
afterAll(() => fleet[Symbol.asyncDispose]());

describe("a kernel", () => {
  test("is registered by its image, with what is found there; a dry run writes nothing", async () => {
    const wanted = { name: "one", image: "one:1" };
    const expected = {
      name: "one",
      digest: digests.one,
      release,
      architecture: "amd64",
      default: false,
      workloads: [],
    };
    const rehearsed = await register(wanted, "?dryRun=true");
    expect([rehearsed.status, rehearsed.body]).toMatchObject([200, expected]);
    expect((await fleet.call<{ items: Kernel[] }>("GET", "/v1/kernels")).body.items).toEqual([]);
    const made = await register(wanted);
    expect([made.status, made.body]).toMatchObject([201, expected]);
    expect(made.headers.get("location")).toBe("/v1/kernels/one");
    for (const reference of ["one", digests.one]) {
      expect((await fleet.call<Kernel>("GET", `/v1/kernels/${reference}`)).body).toEqual(made.body);
    }
    expect((await register(wanted)).body.code).toBe("NAME_TAKEN");
  });

  test.each<[string, () => readonly Buffer[], string, RegExp]>([
    [
      "without a kernel",
      () => [Buffer.concat([tarEntry({ name: "a" }, "b"), tarEnd])],
      "KERNEL_INVALID",
      /no file boot/,
    ],
    [
      "with a corrupt one",
      () => [kernelLayer(kernelFiles(release, { [`boot/vmlinuz-${release}`]: "x".repeat(2048) }))],
      "KERNEL_INVALID",
      /neither a bzImage nor an ELF/,
    ],
    [
      "of more layers than one",
      () => [kernelLayer(kernelFiles(release)), kernelLayer({ "etc/motd": "hello" })],
      "KERNEL_INVALID",
      /one layer, not 2/,
    ],
  ])("is none in an image %s", async (_name, layers, code, detail) => {
    await send("bad:1", layers());
    const { status, body } = await register({ name: "bad", image: "bad:1" });
    expect([status, body.code, body.detail]).toEqual([422, code, expect.stringMatching(detail)]);
    expect((await fleet.call("GET", "/v1/kernels/bad")).status).toBe(404);
  });

  test("of an image that is not there is not found", async () => {
    expect((await register({ name: "none", image: "none:1" })).body.code).toBe("NOT_FOUND");
  });
});

describe("machines", () => {
  test("name a kernel by name or digest, and keep its digest; one that is unknown is refused", async () => {
    expect((await machine("by-name", "one")).status).toBe(202);
    expect((await machine("by-digest", digests.one)).status).toBe(202);
    expect([await kernelIn("by-name"), await kernelIn("by-digest")]).toEqual([digests.one, digests.one]);
    expect((await machine("plain")).status).toBe(202);
    expect(await kernelIn("plain")).toBeUndefined();
    const { status, body } = await machine("wrong", "nothing");
    expect([status, body.code, body.errors]).toMatchObject([422, "KERNEL_UNKNOWN", [{ pointer: "/spec/vm/kernel" }]]);
  });

  test("that name none get the project's default, of which there is one", async () => {
    expect((await register({ name: "first", image: "one:1", default: true })).body.default).toBe(true);
    expect((await register({ name: "two", image: "two:1", default: true })).body.default).toBe(true);
    expect((await fleet.call<Kernel>("GET", "/v1/kernels/first")).body.default).toBe(false);
    expect((await machine("by-default")).status).toBe(202);
    expect(await kernelIn("by-default")).toBe(digests.two);
  });

  test("keep their kernel: it is not removed while they run on it, nor is its image", async () => {
    const remove = (path: string) => fleet.call("DELETE", path);
    expect((await fleet.call<Kernel>("GET", "/v1/kernels/two")).body.workloads).toEqual(["by-default"]);
    const refused = await remove("/v1/kernels/two");
    expect([refused.status, refused.body.code]).toEqual([409, "KERNEL_IN_USE"]);
    expect((await remove("/v1/images/two:1")).body).toMatchObject({
      code: "IMAGE_IN_USE",
      detail: "Image two:1 is the kernel two.",
    });
    // Another name of the same kernel stays.
    expect((await remove("/v1/kernels/first")).status).toBe(204);
    expect((await remove("/v1/kernels/one")).body.code).toBe("KERNEL_IN_USE");
    await fleet.call("DELETE", "/v1/workloads/by-default");
    expect((await remove("/v1/kernels/two")).status).toBe(204);
    expect((await remove("/v1/images/two:1")).status).toBe(204);
  });

  test("a container has no kernel of its own", async () => {
    const spec = { image: "box:1", resources: { cpuMillis: 100, memoryBytes: 2 ** 28 }, vm: { kernel: "one" } };
    const { body } = await fleet.call("POST", "/v1/workloads", { body: { name: "box", spec } });
    expect(body.code).toBe("FIELD_NOT_APPLICABLE");
  });
});
