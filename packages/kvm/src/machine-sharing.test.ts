import type { AssignedShare, ShareOutcome } from "@bulkhead/contracts";
import type { JailedRun } from "@bulkhead/node";
import { expect, test, vi } from "vitest";
import { MachineSharing } from "./machine-sharing.ts";
import { machineAssignment } from "./testing/machine-assignment.ts";
import { runPlace } from "./testing/run-place.ts";

const share: AssignedShare = {
  shareId: "0198c0de-5555-7000-8000-000000000001",
  name: "common",
  kind: "directory",
  path: "/common",
  readOnly: false,
} as AssignedShare;

test("a guest that cannot be reached keeps nobody from taking a share away in time", async () => {
  await using at = await runPlace();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const reshare = vi.fn(async (): Promise<ShareOutcome[]> => []);
    const jailed = { pid: null, paused: false, reshare, others: () => [] } as unknown as JailedRun;
    const never = () => Promise.withResolvers<never>().promise;
    const sharing = new MachineSharing({
      jailed,
      paths: at.paths,
      record: {
        assignment: machineAssignment({ shares: [share] }),
        process: { args: ["true"], env: [], cwd: "/", user: "0:0", stopSignal: 15 },
        engine: "kvm",
      },
      directoryOf: () => "/nowhere",
      guest: { use: never, talk: never },
      lost: () => undefined,
    });
    const taking = sharing.reshare([]);
    await vi.advanceTimersByTimeAsync(10_000);
    vi.useRealTimers();
    expect(await taking).toEqual([
      {
        shareId: share.shareId,
        state: "detached",
        busy: true,
        detail: expect.stringMatching(/did not answer within 10000 ms; programs inside/),
      },
    ]);
    expect(reshare).toHaveBeenCalledOnce();
    expect(sharing.shares).toEqual([]);
    sharing.stop();
  } finally {
    vi.useRealTimers();
  }
});
