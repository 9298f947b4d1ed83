import { busyboxImage } from "@bulkhead/testkit/images";
import type { Event, Workload } from "@bulkhead/contracts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startFleet, type Fleet } from "../fleet.ts";

const resources = { cpuMillis: 50, memoryBytes: 16 * 1024 * 1024, pidsMax: 16 };
const spec = { image: "busybox", command: ["sleep", "100000"], resources };

/** What programs rely on that talk to the API over outages and beside each other. */
describe("the API's promises to programs", () => {
  let fleet: Fleet;

  /** Server-sent events after `since` until `enough` of them say so, or until the connection breaks. */
  const watch = async (since: number, seen: Event[], enough: () => boolean): Promise<void> => {
    using stop = new DisposableStack();
    const abort = new AbortController();
    stop.defer(() => abort.abort());
    const response = await fetch(`${fleet.apiUrl}/v1/events`, {
      headers: {
        authorization: `Bearer ${fleet.token}`,
        accept: "text/event-stream",
        "last-event-id": String(since),
      },
      signal: AbortSignal.any([abort.signal, AbortSignal.timeout(30_000)]),
    });
    expect(response.status).toBe(200);
    let rest = "";
    for await (const chunk of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
      const messages = (rest + chunk).split("\n\n");
      rest = messages.pop() ?? "";
      for (const message of messages) {
        const data = /^data: ?(.*)$/m.exec(message)?.[1];
        if (data !== undefined) seen.push(JSON.parse(data) as Event);
      }
      if (enough()) return;
    }
  };

  const createdIn = (events: readonly Event[]): number =>
    events.filter(({ type }) => type === "workload.created").length;

  beforeAll(async () => {
    fleet = await startFleet();
    await fleet.importImage("busybox", await busyboxImage());
  });
  afterAll(() => fleet[Symbol.asyncDispose]());

  test("an event stream resumed after a kill -9 of the scheduler misses and repeats nothing", async () => {
    await fleet.run("before", spec);
    const seen: Event[] = [];
    const broken = watch(0, seen, () => false).catch(() => "broken");
    await fleet.until(() => createdIn(seen) === 1, "the first events came");
    await fleet.kill("scheduler");
    await broken;
    const last = seen.at(-1)?.id ?? 0;
    await fleet.createStubbornly("after", spec);
    await fleet.waitFor("after-0", "running");
    await watch(last, seen, () => createdIn(seen) === 2);
    const whole: Event[] = [];
    await watch(0, whole, () => createdIn(whole) === 2);
    const common = Math.min(seen.length, whole.length);
    expect(seen.slice(0, common)).toEqual(whole.slice(0, common));
    const ids = seen.map(({ id }) => id);
    expect(ids).toEqual([...new Set(ids)].toSorted((a, b) => a - b));
    await Promise.all(["before", "after"].map((name) => fleet.remove(name)));
  });

  test("Idempotency-Key: done once, answered alike; another request under the same key is refused", async () => {
    const post = (name: string) =>
      fleet.http("POST", "/v1/workloads", { body: { name, spec }, headers: { "idempotency-key": "only-once" } });
    const first = await post("once");
    await fleet.waitFor("once-0", "running");
    const second = await post("once");
    expect([first.status, second.status]).toEqual([202, 202]);
    expect(second.body).toMatchObject({ id: (first.body as { id: string }).id });
    expect(second.headers.get("idempotency-replayed")).toBe("true");
    expect(await post("twice")).toMatchObject({ status: 422, body: { code: "IDEMPOTENCY_MISMATCH" } });
    expect(await fleet.http("GET", "/v1/workloads/twice")).toMatchObject({ status: 404 });
  });

  test("If-Match: of two who change the same version the second is refused", async () => {
    const read = await fleet.http("GET", "/v1/workloads/once");
    const etag = read.headers.get("etag") ?? "";
    const patch = (memoryBytes: number) =>
      fleet.http("PATCH", "/v1/workloads/once", {
        body: { spec: { resources: { memoryBytes } } },
        headers: { "if-match": etag },
      });
    expect((await patch(24 * 1024 * 1024)).status).toBe(202);
    expect(await patch(32 * 1024 * 1024)).toMatchObject({ status: 412 });
    const now = await fleet.http("GET", "/v1/workloads/once");
    expect((now.body as Workload).spec.resources.memoryBytes).toBe(24 * 1024 * 1024);
    expect(now.headers.get("etag")).not.toBe(etag);
  });

  test("pages: every workload once, in as many pages as asked", async () => {
    const names = Array.from({ length: 5 }, (_, index) => `page-${index}`);
    for (const name of names) await fleet.create(name, spec);
    const found: string[] = [];
    const sizes: number[] = [];
    let cursor: string | null | undefined = "";
    do {
      const query: string = cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`;
      const page = (await fleet.http("GET", `/v1/workloads?limit=2${query}`)).body as {
        items: Workload[];
        nextCursor?: string | null;
      };
      sizes.push(page.items.length);
      found.push(...page.items.map(({ name }) => name));
      cursor = page.nextCursor;
    } while (typeof cursor === "string");
    expect(sizes).toEqual([2, 2, 2]);
    expect(found.toSorted()).toEqual(["once", ...names]);
    expect(await fleet.http("GET", "/v1/workloads?cursor=made-up")).toMatchObject({ status: 400 });
  });

  test("dryRun: says where it would run, or why it cannot, and writes nothing", async () => {
    const state = async (): Promise<unknown[]> =>
      Promise.all(["workloads", "instances", "operations"].map(async (kind) => fleet.text(`/v1/${kind}`)));
    await Promise.all(Array.from({ length: 5 }, (_, index) => fleet.waitFor(`page-${index}-0`, "running")));
    const before = await state();
    const planned = await fleet.http("POST", "/v1/workloads?dryRun=true", { body: { name: "ghost", spec } });
    expect(planned).toMatchObject({ status: 200, body: { placements: [{ name: "ghost-0" }] } });
    const patched = await fleet.http("PATCH", "/v1/workloads/once?dryRun=true", { body: { spec: { replicas: 2 } } });
    expect(patched.status).toBe(200);
    const deleted = await fleet.http("DELETE", "/v1/workloads/once?dryRun=true");
    expect(deleted.status).toBe(200);
    expect(await state()).toEqual(before);
    expect((await fleet.http("GET", "/v1/workloads/ghost")).status).toBe(404);
  });
});
