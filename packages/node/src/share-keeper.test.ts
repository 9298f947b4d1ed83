import type { AssignedShare, Assignment, InstanceId, ShareOutcome } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { InstanceRecord } from "./instance-record.ts";
import type { Run } from "./runtime.ts";
import { ShareKeeper } from "./share-keeper.ts";

const share = (shareId: string): AssignedShare => ({
  shareId,
  name: shareId,
  kind: "directory",
  owner: { uid: 0, gid: 0 },
  mode: "0755",
  lifetime: "kept",
  path: `/${shareId}`,
  readOnly: true,
});
const outcome = (shareId: string, state: ShareOutcome["state"], busy = false): ShareOutcome => ({
  shareId,
  state,
  busy,
  detail: null,
});

/** An instance that runs, what it was asked to see each time, and how that ended. */
const keeper = (...answers: (ShareOutcome[] | Error)[]) => {
  const asked: string[][] = [];
  const warned: object[] = [];
  const record = new InstanceRecord("i" as InstanceId);
  let shown: AssignedShare[] = [];
  let busy = 0;
  const reshare = async (wanted: readonly AssignedShare[]): Promise<ShareOutcome[]> => {
    busy += 1;
    expect(busy).toBe(1);
    asked.push(wanted.map(({ shareId }) => shareId));
    await Promise.resolve();
    busy -= 1;
    const answer = answers.shift() ?? [];
    if (answer instanceof Error) throw answer;
    shown = [...wanted];
    return answer;
  };
  const run = {
    reshare,
    get assignment() {
      return { shares: shown } as unknown as Assignment;
    },
  } as unknown as Run;
  record.runs.push({ run, adopted: true, ended: null, appliedResources: null });
  const want = (...shares: AssignedShare[]) => record.want({ shares } as unknown as Assignment, []);
  const log = { debug: () => undefined, info: () => undefined, error: () => undefined };
  const shares = new ShareKeeper(record, { ...log, warn: (fields: object) => void warned.push(fields) });
  return { shares, record, want, asked, warned };
};

test("what is wanted is applied one change at a time, each with the newest document", async () => {
  const { shares, want, asked } = keeper();
  want(share("a"));
  const first = shares.settle();
  want(share("a"), share("b"));
  await Promise.all([first, shares.settle()]);
  expect(asked).toEqual([
    ["a", "b"],
    ["a", "b"],
  ]);
});

test("how a share was detached is told again to whoever asks later, until it is attached again", async () => {
  const { shares, want } = keeper(
    [outcome("a", "detached", true)],
    [outcome("b", "attached")],
    [outcome("a", "attached")],
  );
  want();
  expect(await shares.settle()).toEqual([outcome("a", "detached", true)]);
  expect(await shares.settle()).toEqual([outcome("b", "attached"), outcome("a", "detached", true)]);
  expect(await shares.settle()).toEqual([outcome("a", "attached")]);
  expect(await shares.settle()).toEqual([]);
});

test("a change that fails is told to who asked, and the next one is tried all the same", async () => {
  const { shares, want, asked } = keeper(new Error("gone"), [outcome("a", "attached")]);
  want(share("a"));
  await expect(shares.settle()).rejects.toThrow("gone");
  expect(await shares.settle()).toEqual([outcome("a", "attached")]);
  expect(asked).toHaveLength(2);
});

test("a document that says the same changes nothing; one that differs is applied without being asked", async () => {
  const { shares, want, asked, warned } = keeper([outcome("a", "attached")], new Error("gone"));
  want();
  shares.notice();
  expect(asked).toEqual([]);
  want(share("a"));
  shares.notice();
  await expect.poll(() => asked).toEqual([["a"]]);
  want();
  shares.notice();
  await expect.poll(() => warned).toMatchObject([{ instanceId: "i" }]);
});

test("what does not run, or is another agent's, is left alone", async () => {
  const { shares, record, want, asked } = keeper();
  want(share("a"));
  record.runs.splice(0);
  expect(await shares.settle()).toEqual([]);
  shares.notice();
  expect(asked).toEqual([]);
});

test("no more detached shares are remembered than anybody asks for", async () => {
  const many = Array.from({ length: 200 }, (_, n) => outcome(`s${n}`, "detached"));
  const { shares, want } = keeper(many);
  want();
  await shares.settle();
  expect((await shares.settle()).map(({ shareId }) => shareId)).toEqual(many.slice(-64).map(({ shareId }) => shareId));
});
