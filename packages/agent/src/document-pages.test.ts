import type { Assignment, ClusterId, DesiredDocument, DocumentPlace, InstanceId } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { readPages } from "./document-pages.ts";

const clusterId = "0198c0de-2222-7000-8000-000000000001" as ClusterId;
const instanceId = (n: number) => `0198c0de-1111-7000-8000-00000000000${n}` as InstanceId;
const epoch = { era: 1, n: 1 };
/** Only its identity matters here. */
const assignment = (n: number) => ({ instanceId: instanceId(n), epoch }) as Assignment;
const place = (version: number): DocumentPlace => ({
  era: 1,
  compacted: 0,
  version,
  instanceId: instanceId(1),
  epoch,
});
const page = (version: number, content: Partial<DesiredDocument> = {}): DesiredDocument => ({
  position: { clusterId, era: 1, version },
  since: 0,
  digest: "",
  assignments: [],
  tombstones: [],
  ...content,
});
const serve = (pages: DesiredDocument[]) => {
  const asked: (number | undefined)[] = [];
  const document = readPages(async (after) => {
    asked.push(after?.version);
    const next = pages.shift();
    if (next === undefined) throw new Error("asked once too often");
    return next;
  });
  return { asked, document };
};

test("pages become the document of the last one, and its place names no next", async () => {
  const { asked, document } = serve([
    page(1, { assignments: [assignment(1)], next: place(1) }),
    page(2, { tombstones: [{ instanceId: instanceId(9), epoch, graceMs: 0 }], next: place(2) }),
    page(2, { assignments: [assignment(2)], digest: "of all" }),
  ]);
  expect(await document).toEqual({
    position: { clusterId, era: 1, version: 2 },
    since: 0,
    digest: "of all",
    assignments: [assignment(1), assignment(2)],
    tombstones: [{ instanceId: instanceId(9), epoch, graceMs: 0 }],
  });
  expect(asked).toEqual([undefined, 1, 2]);
});

test.each([
  ["another era", { position: { clusterId, era: 2, version: 2 } }],
  ["other changes", { since: 1 }],
])("pages of %s are not put together", async (_what, content) => {
  const { document } = serve([page(1, { next: place(1) }), page(2, content)]);
  await expect(document).rejects.toMatchObject({ code: "PLAN_STALE" });
});
