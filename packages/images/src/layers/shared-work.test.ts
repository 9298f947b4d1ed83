import { expect, test } from "vitest";
import { SharedWork } from "./shared-work.ts";
import { Slots } from "./slots.ts";

const never = new AbortController().signal;
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("callers with one key share one run, and a later caller starts another", async () => {
  const shared = new SharedWork<number>();
  let runs = 0;
  const work = async () => {
    await settled();
    return ++runs;
  };
  await expect(Promise.all([1, 2, 3].map(() => shared.run("a", never, work)))).resolves.toEqual([1, 1, 1]);
  await expect(shared.run("a", never, work)).resolves.toBe(2);
});

test("a failure reaches every caller and is not kept", async () => {
  const shared = new SharedWork<string>();
  const failing = async (): Promise<string> => {
    await settled();
    throw new Error("no");
  };
  const results = await Promise.allSettled([shared.run("a", never, failing), shared.run("a", never, failing)]);
  expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  await expect(shared.run("a", never, async () => "yes")).resolves.toBe("yes");
});

test("one caller gives up alone; the work goes on for the other", async () => {
  const shared = new SharedWork<string>();
  const gate = Promise.withResolvers<string>();
  const leaver = new AbortController();
  const left = shared.run("a", leaver.signal, () => gate.promise);
  const stayed = shared.run("a", never, () => gate.promise);
  leaver.abort(new Error("bye"));
  await expect(left).rejects.toThrow("bye");
  gate.resolve("done");
  await expect(stayed).resolves.toBe("done");
});

test("the last caller aborts the work and leaves when it has cleaned up", async () => {
  const shared = new SharedWork<string>();
  const cleaned = Promise.withResolvers<undefined>();
  const stop = new AbortController();
  let done = false;
  const running = shared.run("a", stop.signal, async (signal) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    await cleaned.promise;
    done = true;
    throw signal.reason;
  });
  running.catch(() => undefined);
  stop.abort(new Error("stop"));
  // Who comes while the old run is being undone gets a run of their own.
  await expect(shared.run("a", never, async () => "fresh")).resolves.toBe("fresh");
  expect(done).toBe(false);
  cleaned.resolve(undefined);
  await expect(running).rejects.toThrow("stop");
  expect(done).toBe(true);
});

test("slots let a bounded number in, in order, and forget who left", async () => {
  const slots = new Slots(1);
  const first = await slots.take(never);
  const leaver = new AbortController();
  const left = slots.take(leaver.signal);
  const waiting = slots.take(never);
  leaver.abort(new Error("left"));
  await expect(left).rejects.toThrow("left");
  first[Symbol.dispose]();
  const second = await waiting;
  second[Symbol.dispose]();
  (await slots.take(never))[Symbol.dispose]();
});
