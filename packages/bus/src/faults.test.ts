import { expect, test } from "vitest";
import { Faults } from "./faults.ts";
import { memoryLog } from "./testing/messages.ts";

test("a flood is counted in full and logged once in ten seconds, with how many there were", () => {
  const log = memoryLog();
  const clock = { ms: 0 };
  const faults = new Faults(log, () => clock.ms);
  for (let index = 0; index < 1000; index += 1) faults.add("message refused", "a.b", { index });
  expect(log.lines.map(({ fields }) => fields)).toEqual([{ index: 0, pattern: "a.b", times: 1 }]);
  clock.ms = 10_000;
  faults.add("message refused", "a.b", {});
  expect(log.lines.at(-1)?.fields["times"]).toBe(1000);
  expect(faults.total("message refused")).toBe(1001);
});

test("each kind and each subject has a line of its own", () => {
  const log = memoryLog();
  const faults = new Faults(log, () => 0);
  faults.add("message refused", "a", {});
  faults.add("message refused", "b", {});
  faults.add("handler failed", "a", {});
  expect(log.messages()).toEqual(["message refused", "message refused", "handler failed"]);
  expect([faults.total("message refused"), faults.total("handler failed"), faults.total("reply not sent")]).toEqual([
    2, 1, 0,
  ]);
});
