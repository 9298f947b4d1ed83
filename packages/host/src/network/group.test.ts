import { expect, test } from "vitest";
import { Group, type Waiting } from "./group.ts";

/** A service whose turns come when the test says so. */
class TestService {
  readonly served: number[][] = [];
  readonly #turns: PromiseWithResolvers<void>[] = [];
  #refuse: (request: number) => Error | undefined = () => undefined;

  refuse(which: (request: number) => Error | undefined): void {
    this.#refuse = which;
  }

  async turn(work: () => Promise<void>): Promise<void> {
    const turn = Promise.withResolvers<void>();
    this.#turns.push(turn);
    await turn.promise;
    await work();
  }

  async serve(requests: readonly Waiting<number>[]): Promise<void> {
    this.served.push(requests.map(({ request }) => request));
    for (const { request, reject } of requests) {
      const error = this.#refuse(request);
      if (error !== undefined) reject(error);
    }
  }

  next(): PromiseWithResolvers<void> {
    const turn = this.#turns.shift();
    if (turn === undefined) throw new Error("nobody waits for a turn");
    return turn;
  }
}

test("requests that wait for a turn are served in it together, later ones in the next", async () => {
  const service = new TestService();
  const group = new Group(service);
  const first = Promise.all([group.ask(1), group.ask(2), group.ask(3)]);
  service.next().resolve();
  await first;
  const second = group.ask(4);
  service.next().resolve();
  await second;
  expect(service.served).toEqual([[1, 2, 3], [4]]);
});

test("who asks while others are served is served next, without waiting for more", async () => {
  const service = new TestService();
  const group = new Group(service);
  let late: Promise<void> | undefined;
  service.refuse(() => {
    late ??= group.ask(2);
    return undefined;
  });
  const early = group.ask(1);
  service.next().resolve();
  await early;
  service.next().resolve();
  await late;
  expect(service.served).toEqual([[1], [2]]);
});

test("one that is refused does not refuse the others", async () => {
  const service = new TestService();
  const group = new Group(service);
  service.refuse((request) => (request === 2 ? new Error("not this one") : undefined));
  const outcomes = Promise.allSettled([group.ask(1), group.ask(2), group.ask(3)]);
  service.next().resolve();
  expect((await outcomes).map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
});

test("a turn that never comes fails all who waited for it, and the next ones are served", async () => {
  const service = new TestService();
  const group = new Group(service);
  const outcomes = Promise.allSettled([group.ask(1), group.ask(2)]);
  service.next().reject(new Error("no lock"));
  expect((await outcomes).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  const next = group.ask(3);
  service.next().resolve();
  await next;
  expect(service.served).toEqual([[3]]);
});
