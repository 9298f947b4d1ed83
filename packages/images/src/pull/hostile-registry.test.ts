import type { ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import { FakeRegistry, type Intercept, registryImage, sendRange } from "@bulkhead/testkit/images";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { digestOf } from "../digest.ts";
import { PullRig, layerOf, quickTimes } from "../testing/pull-rig.ts";

let registry: FakeRegistry;
let rig: PullRig;
beforeEach(async () => {
  registry = await FakeRegistry.start();
  rig = await PullRig.open();
});
afterEach(async () => {
  await registry[Symbol.asyncDispose]();
  await rig[Symbol.asyncDispose]();
});

const image = registryImage({ layers: [layerOf("a", 64)], compression: "none" });
const [layer = image.digest] = image.layers;
const bytes = image.blobs.get(layer) ?? Buffer.alloc(0);

/** Misbehaves for one path only. */
const on =
  (part: string, act: (response: ServerResponse, request: Parameters<Intercept>[0]) => void): Intercept =>
  (request, response) => {
    if (request.url?.includes(part) !== true) return false;
    act(response, request);
    return true;
  };

/** The pull's refusal; nothing may be stored under the image's or the layer's name. */
const refusal = async (reference: string): Promise<{ code?: string; message: string }> => {
  const refused = await rig.pull(reference).then(
    () => new Error("it was accepted"),
    (error: Error) => error,
  );
  const stored = await rig.stored();
  expect(stored).not.toContain(image.digest);
  expect(stored).not.toContain(layer);
  return refused;
};

describe("a layer", () => {
  test("with other bytes is IMAGE_DIGEST_MISMATCH, and the next pull begins anew", async () => {
    const reference = registry.add(image);
    registry.blobs.set(layer, Buffer.from(bytes).fill(0, 100, 200));
    expect(await refusal(reference)).toMatchObject({ code: "IMAGE_DIGEST_MISMATCH" });
    registry.blobs.set(layer, bytes);
    expect((await rig.pull(reference)).manifestDigest).toBe(image.digest);
    expect(registry.asked(layer).map(({ headers }) => headers.range)).toEqual([undefined, undefined]);
  });

  test("that goes on after its size is cut off at once", async () => {
    const reference = registry.add(image);
    let sent = 0;
    registry.intercept = on(layer, (response) => {
      response.writeHead(200);
      const more = () => {
        while (!response.destroyed && response.write(bytes)) sent += bytes.byteLength;
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    });
    expect(await refusal(reference)).toMatchObject({
      code: "IMAGE_DIGEST_MISMATCH",
      message: expect.stringMatching(/larger than/),
    });
    expect(sent).toBeLessThan(bytes.byteLength + 64 * 2 ** 20);
  });

  test("that ends early is asked for again where it ended", async () => {
    const reference = registry.add(image);
    let first = true;
    registry.intercept = on(layer, (response, request) => {
      if (!first) return sendRange(request, response, bytes);
      first = false;
      response.end(bytes.subarray(0, 1000));
    });
    await rig.pull(reference);
    expect(registry.asked(layer).map(({ headers }) => headers.range)).toEqual([undefined, "bytes=1000-"]);
  });

  test("that always ends early is REGISTRY_UNAVAILABLE in the end", async () => {
    const reference = registry.add(image);
    registry.intercept = on(layer, (response, { headers }) =>
      headers.range === undefined ? response.end(bytes.subarray(0, 1000)) : response.writeHead(416).end(),
    );
    expect(await refusal(reference)).toMatchObject({
      code: "REGISTRY_UNAVAILABLE",
      message: expect.stringMatching(/1000 of/),
    });
  });

  test("with a Content-Length that is too large or too small does not arrive", async () => {
    const reference = registry.add(image);
    registry.intercept = on(layer, (response) => {
      response.writeHead(200, { "content-length": bytes.byteLength + 1000 });
      response.write(bytes.subarray(0, 2000), () => response.socket?.destroy());
    });
    expect(await refusal(reference)).toMatchObject({ code: expect.stringMatching(/^(REGISTRY|IMAGE)_/) });
    registry.intercept = on(layer, (response) => {
      response.socket?.end(`HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n${bytes.toString("latin1")}`, "latin1");
    });
    expect(await refusal(reference)).toMatchObject({ code: expect.stringMatching(/^(REGISTRY|IMAGE)_/) });
  });

  test("that drips is given up, however long it would go on", async () => {
    const reference = registry.add(image);
    const timers: NodeJS.Timeout[] = [];
    registry.intercept = on(layer, (response) => {
      response.writeHead(200, { "content-length": bytes.byteLength });
      timers.push(setInterval(() => response.write("x"), 20));
    });
    const began = performance.now();
    expect(await refusal(reference)).toMatchObject({
      code: "REGISTRY_UNAVAILABLE",
      message: expect.stringMatching(/brought \d+ bytes/),
    });
    expect(performance.now() - began).toBeLessThan(quickTimes.deadlineMs * 4);
    for (const timer of timers) clearInterval(timer);
  });

  test("that unpacks to more than the limit is IMAGE_TOO_LARGE", async () => {
    const zeros = Buffer.alloc(64 * 2 ** 20);
    const bomb = registryImage({ layers: [zeros] });
    expect(gzipSync(zeros).byteLength).toBeLessThan(100_000);
    await using small = await PullRig.open({}, { limits: { maxLayerBytes: 2 ** 20 } });
    await expect(small.pull(registry.add(bomb))).rejects.toMatchObject({ code: "IMAGE_TOO_LARGE" });
    expect(await small.stored()).not.toContain(bomb.digest);
  });

  test("that unpacks to another diff id is IMAGE_DIGEST_MISMATCH", async () => {
    const wrong = registryImage({ layers: [layerOf("a")], diffIds: [digestOf("else")] });
    await expect(rig.pull(registry.add(wrong))).rejects.toMatchObject({ code: "IMAGE_DIGEST_MISMATCH" });
    expect(await rig.stored()).not.toContain(wrong.layers[0]);
  });

  test("whose manifest says more than an image may have is refused before it is asked for", async () => {
    const claims = registryImage({
      layers: [layerOf("a")],
      change: (m) => ({ ...m, layers: m.layers.map((entry) => ({ ...entry, size: 2 ** 50 })) }),
    });
    await expect(rig.pull(registry.add(claims))).rejects.toMatchObject({ code: "IMAGE_TOO_LARGE" });
    expect(registry.asked("/blobs/")).toHaveLength(0);
  });
});

describe("a manifest", () => {
  test.each([
    [
      "endless",
      (response: ServerResponse) => {
        response.writeHead(200);
        const more = () => {
          while (!response.destroyed && response.write(Buffer.alloc(2 ** 20, " "))) continue;
          if (!response.destroyed) response.once("drain", more);
        };
        more();
      },
      "IMAGE_TOO_LARGE",
    ],
    ["of 5 MiB", (response: ServerResponse) => response.end(Buffer.alloc(5 * 2 ** 20, " ")), "IMAGE_TOO_LARGE"],
    ["that is a web page", (response: ServerResponse) => response.end("<html>"), "IMAGE_INVALID"],
    ["that never comes", () => undefined, "REGISTRY_UNAVAILABLE"],
    [
      "with a broken answer",
      (response: ServerResponse) => response.socket?.end("HTTP/9 what\r\n\r\n"),
      "REGISTRY_UNAVAILABLE",
    ],
    [
      "with headers without end",
      (response: ServerResponse) => response.socket?.end(`HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(50_000)}`),
      "REGISTRY_UNAVAILABLE",
    ],
  ])("%s", async (_, act, code) => {
    const reference = registry.add(image);
    registry.intercept = on("/manifests/", act);
    expect(await refusal(reference)).toMatchObject({ code });
  });
});

describe("redirects", () => {
  test("a loop is REGISTRY_UNAVAILABLE and soon over", async () => {
    const reference = registry.add(image);
    registry.intercept = on(layer, (response, { url }) => response.writeHead(307, { location: url ?? "" }).end());
    expect(await refusal(reference)).toMatchObject({
      code: "REGISTRY_UNAVAILABLE",
      message: expect.stringMatching(/redirects more than 5/),
    });
    expect(registry.asked(layer)).toHaveLength(6);
  });

  test.each([
    ["no address", "http://"],
    ["plain HTTP elsewhere", "http://registry.invalid/blob"],
    ["a file", "file:///etc/passwd"],
  ])("to %s are not followed", async (_, location) => {
    const reference = registry.add(image);
    registry.intercept = on(layer, (response) => response.writeHead(302, { location }).end());
    expect(await refusal(reference)).toMatchObject({ code: "REGISTRY_UNAVAILABLE" });
  });

  test("to another server carry no credential, and its 401 gets none", async () => {
    await using storage = await FakeRegistry.start();
    const reference = registry.add(image);
    await using own = await PullRig.open({
      credentials: { auths: { [registry.host]: { username: "u", password: "p" } } },
    });
    storage.intercept = (_, response) => {
      response.end(bytes);
      return true;
    };
    registry.intercept = (request, response) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { "www-authenticate": 'Basic realm="r"' }).end();
        return true;
      }
      if (request.url?.includes(layer) !== true) return false;
      response.writeHead(307, { location: `${storage.url}/data?signature=abc` }).end();
      return true;
    };
    expect((await own.pull(reference)).manifestDigest).toBe(image.digest);
    expect(registry.requests.at(-1)?.headers.authorization).toBe(`Basic ${Buffer.from("u:p").toString("base64")}`);
    expect(storage.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);

    await using again = await PullRig.open({
      credentials: { auths: { [registry.host]: { username: "u", password: "p" } } },
    });
    await using thief = await FakeRegistry.start();
    storage.intercept = (_, response) => {
      response.writeHead(401, { "www-authenticate": `Bearer realm="${thief.url}/token"` }).end();
      return true;
    };
    await expect(again.pull(reference)).rejects.toMatchObject({ code: "REGISTRY_DENIED" });
    expect(thief.requests).toHaveLength(0);
  });
});

describe("a server with trouble", () => {
  test("is asked again after what Retry-After says", async () => {
    const reference = registry.add(image);
    let left = 2;
    registry.intercept = (_, response) => {
      if (left === 0) return false;
      left -= 1;
      response.writeHead(left === 1 ? 503 : 429, { "retry-after": "0" }).end();
      return true;
    };
    expect((await rig.pull(reference)).manifestDigest).toBe(image.digest);
  });

  test("that asks for more time than there is gets none, and the caller hears how much", async () => {
    const reference = registry.add(image);
    registry.intercept = on("/manifests/", (response) => response.writeHead(429, { "retry-after": "3600" }).end());
    const began = performance.now();
    expect(await refusal(reference)).toMatchObject({
      code: "REGISTRY_UNAVAILABLE",
      fields: { retryAfterMs: 3_600_000 },
    });
    expect(performance.now() - began).toBeLessThan(quickTimes.deadlineMs);
  });

  test("a pull that takes too long in all is given up", async () => {
    const reference = registry.add(image);
    registry.intercept = (request) => request.url?.includes(layer) === true;
    await using patient = await PullRig.open(
      {},
      { pullMs: 300, times: { ...quickTimes, deadlineMs: 60_000, pace: { windowMs: 60_000, minBytes: 1 } } },
    );
    await expect(patient.pull(reference)).rejects.toMatchObject({
      code: "REGISTRY_UNAVAILABLE",
      message: expect.stringMatching(/not there in time/),
    });
  });

  test("what is not there is IMAGE_UNAVAILABLE; nobody there is REGISTRY_UNAVAILABLE", async () => {
    await expect(rig.pull(`${registry.host}/none:1`)).rejects.toMatchObject({ code: "IMAGE_UNAVAILABLE" });
    const { host } = registry;
    await registry[Symbol.asyncDispose]();
    await expect(rig.pull(`${host}/none:1`)).rejects.toMatchObject({
      code: "REGISTRY_UNAVAILABLE",
      message: expect.stringMatching(/ECONNREFUSED/),
    });
    registry = await FakeRegistry.start();
  });
});
