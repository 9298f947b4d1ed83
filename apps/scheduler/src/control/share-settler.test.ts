import { subjects } from "@bulkhead/contracts";
import type { DoomedShare, OpenUse } from "@bulkhead/inventory";
import { expect, test } from "vitest";
import type { ControlPorts, Term } from "./ports.ts";
import { ShareSettler } from "./share-settler.ts";

const use = (instanceId: string, hostId: string): OpenUse => ({ instanceId, hostId, isolation: "container" });
const doomed = (id: string, hostId: string): DoomedShare => ({ id, name: id, project: "default", hostId });
const applied = { running: true, outcomes: [] };

/** A leader in term 7 whose hosts answer but for the silent ones. */
const settler = (work: { uses: OpenUse[]; doomed: DoomedShare[] }, silent: readonly string[] = []) => {
  const asked: unknown[] = [];
  const recorded: unknown[] = [];
  const quiet: unknown[] = [];
  const ports = {
    bus: {
      request: async (subject: unknown, { hostId }: { hostId: string }, body: unknown) => {
        asked.push([subject === subjects.applyShares ? "apply" : "remove", hostId, body]);
        if (silent.includes(hostId)) throw new Error("no answer");
        return applied;
      },
    },
    store: {
      shareWork: async () => work,
      recordShares: async (term: number, told: object) => void recorded.push([term, told]),
      recordShareRemoved: async (term: number, share: DoomedShare) => void recorded.push([term, share.id]),
    },
    log: { debug: (fields: object) => void quiet.push(fields) },
  } as unknown as ControlPorts;
  return { settle: new ShareSettler(ports, { term: 7 } as Term), asked, recorded, quiet };
};

test("each host is asked once in a pass, and what it says is written in the leader's term", async () => {
  const { settle, asked, recorded } = settler({ uses: [use("i", "a"), use("j", "b")], doomed: [doomed("s", "b")] });
  await settle.pass();
  expect(asked).toEqual([
    ["apply", "a", { instanceId: "i" }],
    ["apply", "b", { instanceId: "j" }],
    ["remove", "b", { shareId: "s" }],
  ]);
  expect(recorded).toEqual(
    expect.arrayContaining([
      [7, { instanceId: "i", applied }],
      [7, { instanceId: "j", applied }],
      [7, "s"],
    ]),
  );
});

test("a host that does not answer keeps nobody else waiting, and is asked in the next pass", async () => {
  const work = { uses: [use("i", "a"), use("j", "b")], doomed: [doomed("s", "a"), doomed("t", "b")] };
  const { settle, asked, recorded, quiet } = settler(work, ["a"]);
  await settle.pass();
  expect(recorded).toEqual(
    expect.arrayContaining([
      [7, { instanceId: "j", applied }],
      [7, "t"],
    ]),
  );
  expect(recorded).toHaveLength(2);
  expect(quiet).toMatchObject([{ hostId: "a" }, { hostId: "a" }]);
  await settle.pass();
  expect(asked).toHaveLength(8);
});

test("with nothing to do nobody is asked", async () => {
  const { settle, asked } = settler({ uses: [], doomed: [] });
  await settle.pass();
  expect(asked).toEqual([]);
});
