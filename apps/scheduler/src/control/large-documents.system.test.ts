import { subjects } from "@bulkhead/contracts";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start();
});
beforeEach(() => rig.reset());
afterAll(() => rig[Symbol.asyncDispose]());

const deadline = { timeout: 20_000, interval: 20 };
const until = <T>(assertion: () => T | Promise<T>): Promise<T> => vi.waitFor(assertion, deadline);
const resources = { cpuMillis: 10, memoryBytes: 2 ** 24 };
/** As it was admitted before specifications had a limit. */
const large = Object.fromEntries(Array.from({ length: 9 }, (_, at) => [`A${at}`, "x".repeat(110_000)]));

test("more than one message holds reaches its host, and so do later orders", async () => {
  const loop = await rig.control();
  const agent = await rig.joined();
  await rig.fleet.addWorkload("large", { replicas: 9, env: large, resources });
  loop.wake();
  await until(() => expect(agent.running.size).toBe(9));
  await rig.fleet.inventory.api.write((tx) =>
    tx.deleteWorkload(rig.fleet.change, { workload: { project: "default", idOrName: "large" } }),
  );
  await rig.fleet.addWorkload("small");
  loop.wake();
  await until(() => expect([...agent.running.values()].map(({ name }) => name)).toEqual(["small-0"]));
});

test("an agent that begins with nothing gets the whole document, which is more than one message holds", async () => {
  const loop = await rig.control();
  const agent = await rig.joined();
  await rig.fleet.addWorkload("many", { replicas: 200, env: { A: "x".repeat(45_000) }, resources });
  loop.wake();
  await until(() => expect(agent.running.size).toBe(200));
  const next = await rig.agent(agent.host);
  next.fetch();
  await until(() => expect(next.assignments.size).toBe(200));
  expect([next.position, next.digest]).toEqual([agent.position, agent.digest]);
});

test("an agent that knows no pages gets what fits, else an error that says what to do", async () => {
  const loop = await rig.control();
  const agent = await rig.joined();
  agent.paged = false;
  await rig.fleet.addWorkload("small");
  loop.wake();
  await until(() => expect(agent.running.size).toBe(1));
  await rig.fleet.addWorkload("large", { replicas: 9, env: large, resources });
  loop.wake();
  await until(() =>
    expect(rig.log.lines).toContainEqual(
      expect.objectContaining({ level: "error", message: "document is too large for an agent that knows no pages" }),
    ),
  );
  await expect(agent.bus.request(subjects.fetchDesired, agent.host, { have: null })).rejects.toMatchObject({
    code: "ANSWER_TOO_LARGE",
    message: expect.stringContaining("upgrade this host's agents") as string,
  });
  agent.paged = true;
  await until(() => expect(agent.running.size).toBe(10));
});
