import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Assignment, Digest, HostId, InstanceId, SnapshotId, WorkloadId } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import type { MachinePaths } from "../machine-paths.ts";
import { identityOf, originOf } from "./copy-start.ts";
import { SnapshotStore } from "./snapshot-store.ts";

const restoredFrom = { snapshotId: "0198c0de-4444-7000-8000-000000000001" as SnapshotId, hostId: "h" as HostId };

const assignment = (vm: Assignment["spec"]["vm"]): Assignment => ({
  instanceId: "0198c0de-0000-7000-8000-00000000000a" as InstanceId,
  workloadId: "0198c0de-3333-7000-8000-000000000001" as WorkloadId,
  project: "default",
  name: "copy-1",
  isolation: "vm",
  generation: 1,
  epoch: { era: 1, n: 1 },
  desired: "running",
  restartRequest: 0,
  imageDigest: `sha256:${"0".repeat(64)}` as Digest,
  spec: { image: "app", resources: { cpuMillis: 1000, memoryBytes: 2 ** 28 }, ...(vm === undefined ? {} : { vm }) },
  cpuIds: [],
});

test("an instance is a copy once: with a disk of its own, or no snapshot to begin from, it boots", async () => {
  await using directory = await mkdtempDisposable("/tmp/bulkhead-copy-");
  const store = new SnapshotStore(join(directory.path, "snapshots"));
  const scratch = join(directory.path, "scratch");
  const paths = { scratch } as MachinePaths;
  expect(await originOf(store, assignment(undefined), paths)).toBeNull();
  // What it should begin from is not here: it does not boot instead.
  await expect(originOf(store, assignment({ restoredFrom }), paths)).rejects.toMatchObject({
    reason: "RuntimeFailed",
    message: expect.stringMatching(/cannot be restored: snapshot .* is not on this host/) as string,
  });
  await writeFile(scratch, "");
  expect(await originOf(store, assignment({ restoredFrom }), paths)).toBeNull();
});

test("a copy is told its own name, and an id that no other has", () => {
  expect(identityOf(assignment({ restoredFrom }))).toEqual({
    hostname: "copy-1",
    network: undefined,
    machineId: "0198c0de00007000800000000000000a",
  });
});
