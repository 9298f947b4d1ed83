import type { SnapshotId } from "@bulkhead/contracts";
import { assignment, FakeHost, instanceId } from "@bulkhead/testkit/runtime";
import { expect, test } from "vitest";

const snapshotId = "0198c0de-4444-7000-8000-000000000001" as SnapshotId;

test("an agent takes what runs on its host to a snapshot, and removes it when nobody began from it", async () => {
  const host = new FakeHost();
  host.control.assign(assignment());
  await using stack = new AsyncDisposableStack();
  const agent = await host.start();
  stack.defer(() => agent.stop());
  const taken = await host.control.takeSnapshot({ instanceId: instanceId(1), snapshotId });
  expect(taken).toMatchObject({ engine: "kvm" });
  await expect(host.control.takeSnapshot({ instanceId: instanceId(2), snapshotId })).rejects.toMatchObject({
    code: "NOT_FOUND",
  });
  // Of one that was taken, the answer is the same when it does not run any more.
  host.runtime.run(instanceId(1)).end({ signal: 9 });
  expect(await host.control.takeSnapshot({ instanceId: instanceId(1), snapshotId })).toEqual(taken);
  await host.control.verifySnapshot(snapshotId);
  await host.control.removeSnapshot(snapshotId);
  await expect(host.control.verifySnapshot(snapshotId)).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(host.control.takeSnapshot({ instanceId: instanceId(1), snapshotId })).rejects.toMatchObject({
    code: "STATE_CONFLICT",
  });
});
