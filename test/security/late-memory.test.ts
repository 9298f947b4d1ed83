import { copyFileSync, existsSync, mkdirSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Digest } from "@bulkhead/contracts";
import { kvmEngine } from "@bulkhead/kvm";
import { Rig } from "@bulkhead/namespaces/testing";
import { expect, test } from "vitest";
import { knock, tinyKernel } from "../../native/kvm/src/testing/tiny-kernel.ts";
import { monitorPath } from "../bench/machine-bench.ts";

const mebibyte = 2 ** 20;
const hasDevices = existsSync("/dev/kvm") && existsSync("/dev/userfaultfd");

const devicesOf = (root: string) =>
  kvmEngine({ directory: root }).program([root], {
    cpus: 1,
    memoryMib: 128,
    cpuIds: [],
    memoryPolicy: "normal",
    hugepages: false,
    tscKhz: null,
    origin: { kernel: "/nowhere", initramfs: "/nowhere" },
    disks: { image: "/nowhere", scratch: "/nowhere", settings: "/nowhere", report: "/nowhere" },
    card: null,
    ports: "/nowhere",
    shared: [],
  }).devices;

test.skipIf(!hasDevices)("in an agent's jail a monitor begins before a large kernel is there", async () => {
  await using rig = await Rig.open();
  const root = join(rig.root, "monitor-root");
  mkdirSync(join(root, "machine"), { recursive: true, mode: 0o755 });
  copyFileSync(monitorPath, join(root, "bulkhead-vmm"));
  const kernel = { hostPath: join(rig.root, "kernel"), path: "/machine/kernel", writable: false };
  // Its guest stays in the first page, so that the rest is still to come whenever it is looked at.
  writeFileSync(kernel.hostPath, tinyKernel([...knock, ...Buffer.alloc(8 * mebibyte)]), { mode: 0o644 });
  const assignment = rig.assignment(`sha256:${"0".repeat(64)}` as Digest, {
    resources: { cpuMillis: 1000, memoryBytes: 192 * mebibyte, pidsMax: 128 },
    container: { readOnlyRoot: true, capabilities: [] },
  });
  const key = { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt: 0 };
  const args = ["/bulkhead-vmm", "--kernel", kernel.path, "--memory-mib", "128"];
  const program = { root: [root], args, files: [kernel], devices: devicesOf(root) };
  const run = await rig.runtime.confine({ key, assignment, program }, new AbortController().signal);
  const open = () => readdirSync(`/proc/${run.pid}/fd`).map((fd) => readlinkSync(`/proc/${run.pid}/fd/${fd}`));
  await expect.poll(open, { timeout: 30_000 }).toContain("anon_inode:kvm-vcpu:0");
  expect(open()).toContain("anon_inode:[userfaultfd]");
  // Of which more could be made with it.
  await expect.poll(open, { timeout: 30_000 }).not.toContain("/dev/userfaultfd");
  await run.stop(0);
  await run.release();
  await rig.runtime.remove(assignment.instanceId);
});
