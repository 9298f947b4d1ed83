import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { afterEach, expect, test } from "vitest";
import { digestOf } from "../digest.ts";
import { HttpBlobFetcher, type HttpBlobFetcherOptions } from "./http-blob-fetcher.ts";

const content = Buffer.alloc(300_000, "0123456789");
const digest = digestOf(content);
const never = new AbortController().signal;

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

let close: (() => void) | undefined;
afterEach(() => {
  close?.();
  close = undefined;
});

/** Answers each request with the next of the list, the last one again and again. */
const serve = async (...answers: readonly Answer[]) => {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    answers[Math.min(requests.length, answers.length) - 1]?.(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { requests, baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
};

const whole: Answer = (_, response) => response.end(content);

const ranged: Answer = (request, response) => {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "bytes=0-")?.[1]);
  if (start >= content.byteLength) {
    response.writeHead(416).end();
    return;
  }
  const status = request.headers.range === undefined ? 200 : 206;
  response.writeHead(status, {
    "content-range": `bytes ${start}-${content.byteLength - 1}/${content.byteLength}`,
    "content-length": content.byteLength - start,
  });
  response.end(content.subarray(start));
};

/** Sends some bytes and breaks the connection. */
const broken =
  (count: number): Answer =>
  (_, response) => {
    response.writeHead(200, { "content-length": content.byteLength });
    response.write(content.subarray(0, count), () => response.socket?.destroy());
  };

const status =
  (code: number, headers: Record<string, string> = {}): Answer =>
  (_, response) =>
    response.writeHead(code, headers).end("no");

const read = async (
  baseUrl: string,
  options: Partial<HttpBlobFetcherOptions> = {},
  signal = never,
): Promise<Buffer> => {
  const fetcher = new HttpBlobFetcher({ baseUrl, repository: "default", deadlineMs: 5_000, ...options });
  return buffer(await fetcher.fetch(digest, signal));
};

test("a blob is asked for with the token, under the repository's name", async () => {
  const { baseUrl, requests } = await serve(whole);
  expect((await read(baseUrl, { token: async () => "secret" })).equals(content)).toBe(true);
  expect(requests[0]?.url).toBe(`/v2/default/blobs/${digest}`);
  expect(requests[0]?.headers).toMatchObject({ authorization: "Bearer secret", "accept-encoding": "identity" });
});

test("a manifest is asked for where registries keep manifests", async () => {
  const { baseUrl, requests } = await serve(whole);
  const fetcher = new HttpBlobFetcher({ baseUrl, repository: "default" });
  await buffer(await fetcher.fetch(digest, never, "manifest"));
  expect(requests[0]?.url).toBe(`/v2/default/manifests/${digest}`);
  expect(requests[0]?.headers.accept).toContain("application/vnd.oci.image.manifest.v1+json");
});

test("a broken connection is resumed where it broke", async () => {
  const { baseUrl, requests } = await serve(broken(100_000), ranged);
  expect((await read(baseUrl)).equals(content)).toBe(true);
  expect(requests[1]?.headers.range).toMatch(/^bytes=[1-9]\d*-$/);
});

test("a server without ranges sends everything again, and nothing is doubled", async () => {
  const { baseUrl } = await serve(broken(100_000), whole);
  expect((await read(baseUrl)).equals(content)).toBe(true);
});

test("a connection that breaks after the last byte has brought everything", async () => {
  const chunkedThenBroken: Answer = (_, response) => {
    response.writeHead(200, { "content-length": content.byteLength + 1 });
    response.write(content, () => response.socket?.destroy());
  };
  const { baseUrl } = await serve(chunkedThenBroken, ranged);
  expect((await read(baseUrl)).equals(content)).toBe(true);
});

test("a passing fault of the server is tried again", async () => {
  const { baseUrl, requests } = await serve(status(503), status(429, { "retry-after": "0" }), whole);
  expect((await read(baseUrl)).equals(content)).toBe(true);
  expect(requests).toHaveLength(3);
});

test.each([
  [404, "IMAGE_UNAVAILABLE"],
  [401, "UNAUTHENTICATED"],
  [403, "FORBIDDEN"],
])("status %i is final: %s", async (code, expected) => {
  const { baseUrl, requests } = await serve(status(code));
  await expect(read(baseUrl)).rejects.toMatchObject({ code: expected });
  expect(requests).toHaveLength(1);
});

test("a server that stays away is given up at the deadline", async () => {
  const { baseUrl } = await serve(status(503));
  const started = performance.now();
  await expect(read(baseUrl, { deadlineMs: 500 })).rejects.toMatchObject({
    code: "IMAGE_UNAVAILABLE",
    message: expect.stringContaining("503"),
  });
  expect(performance.now() - started).toBeLessThan(3_000);
});

test("a server that is not there is IMAGE_UNAVAILABLE and says why", async () => {
  const { baseUrl } = await serve(whole);
  close?.();
  await expect(read(baseUrl, { deadlineMs: 300 })).rejects.toThrow(/ECONNREFUSED|socket|closed/);
});

test("a connection that brings nothing is opened again", async () => {
  const silent: Answer = (_, response) => {
    response.writeHead(200, { "content-length": content.byteLength });
    response.write(content.subarray(0, 1000));
  };
  const { baseUrl, requests } = await serve(silent, ranged);
  expect((await read(baseUrl, { stallMs: 200 })).equals(content)).toBe(true);
  expect(requests).toHaveLength(2);
});

test("an abort ends waiting at once", async () => {
  const { baseUrl } = await serve(status(503, { "retry-after": "3" }));
  const stop = new AbortController();
  const reading = read(baseUrl, {}, stop.signal);
  setImmediate(() => stop.abort(new Error("enough")));
  await expect(reading).rejects.toThrow(/enough|aborted/);
});
