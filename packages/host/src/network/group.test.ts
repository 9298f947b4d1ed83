import { expect, test } from "vitest";
import { Group, type Waiting } from "./group.ts";

/** Serves as the test says: what is not refused is done when the test lets it. */
class TestService {
  readonly served: number[][] = [];
  refuse: (request: number) => Error | undefined = () => undefined;
  fail: Error | undefined;
  #done = Promise.withResolvers<void>();

  readonly group = new Group<number>((requests) => this.#serve(requests));

  async #serve(requests: readonly Waiting<number>[]): Promise<void> {
    this.served.push(requests.map(({ request }) => request));
    await this.#done.promise;
    this.#done = Promise.withResolvers();
    if (this.fail !== undefined) throw this.fail;
    for (const { request, reject } of requests) {
      const error = this.refuse(request);
      if (error !== undefined) reject(error);
    }
  }

  finish(): void {
    this.#done.resolve();
  }
}

const outcomesOf = async (asked: readonly Promise<void>[]): Promise<string[]> =>
  (await Promise.allSettled(asked)).map(({ status }) => status);

test("requests of one moment are served together, and those that come meanwhile together after them", async () => {
  const service = new TestService();
  const first = [1, 2, 3].map((number) => service.group.ask(number));
  await expect.poll(() => service.served).toEqual([[1, 2, 3]]);
  const second = [4, 5].map((number) => service.group.ask(number));
  expect(service.served).toHaveLength(1);
  service.finish();
  await Promise.all(first);
  await expect
    .poll(() => service.served)
    .toEqual([
      [1, 2, 3],
      [4, 5],
    ]);
  service.finish();
  await Promise.all(second);
});

test("one that is refused does not refuse the others", async () => {
  const service = new TestService();
  service.refuse = (request) => (request === 2 ? new Error("not this one") : undefined);
  const asked = [1, 2, 3].map((number) => service.group.ask(number));
  service.finish();
  expect(await outcomesOf(asked)).toEqual(["fulfilled", "rejected", "fulfilled"]);
});

test("a service that fails fails all whom it served, and the next ones are served", async () => {
  const service = new TestService();
  service.fail = new Error("no lock");
  const asked = [1, 2].map((number) => service.group.ask(number));
  service.finish();
  expect(await outcomesOf(asked)).toEqual(["rejected", "rejected"]);
  service.fail = undefined;
  const next = service.group.ask(3);
  service.finish();
  await next;
  expect(service.served).toEqual([[1, 2], [3]]);
});
