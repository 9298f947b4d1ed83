import { FakeClock } from "@bulkhead/testkit/runtime";
import { expect, test } from "vitest";
import { LongWork, type Tell } from "./long-work.ts";

const hourMs = 3_600_000;

/** Work that a test ends, and how often it was begun. */
const trial = () => {
  const clock = new FakeClock();
  const work = new LongWork(clock);
  const begun: { readonly tell: Tell; readonly end: PromiseWithResolvers<string> }[] = [];
  const ask = (): Promise<string> =>
    work.answer("it", (tell) => {
      const end = Promise.withResolvers<string>();
      begun.push({ tell, end });
      return end.promise;
    });
  /** Asks, and has the asker's patience pass. */
  const askInVain = async (): Promise<unknown> => {
    const asked = ask().catch((error: unknown) => error);
    await clock.advance(5_000);
    return asked;
  };
  return { clock, begun, ask, askInVain };
};

test("work of hours is begun once, whoever asks hears how far it is, and its end", async () => {
  const { clock, begun, ask, askInVain } = trial();
  expect(await askInVain()).toMatchObject({ code: "SNAPSHOT_UNDER_WAY", message: "begun" });
  begun[0]?.tell("half");
  await clock.advance(hourMs);
  expect(await askInVain()).toMatchObject({ code: "SNAPSHOT_UNDER_WAY", message: "half" });
  const two = [ask(), ask()];
  begun[0]?.end.resolve("done");
  expect(await Promise.all(two)).toEqual(["done", "done"]);
  expect(begun.length).toBe(1);
});

test("an end that nobody waited for is told to who asks next, and then the work is done anew", async () => {
  const { clock, begun, ask, askInVain } = trial();
  await askInVain();
  begun[0]?.end.reject(new Error("damaged"));
  await clock.advance(50_000);
  await expect(ask()).rejects.toThrow("damaged");
  await askInVain();
  expect(begun.length).toBe(2);
});

test("an end that nobody asks for is too old after a minute", async () => {
  const { clock, begun, askInVain } = trial();
  await askInVain();
  begun[0]?.end.resolve("done");
  await clock.advance(61_000);
  await askInVain();
  expect(begun.length).toBe(2);
});
