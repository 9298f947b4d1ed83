import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Digest } from "@bulkhead/contracts";
import { BlobStore, buildKernelImage, importArchive, LayerStore, command, type EnsuredImage } from "@bulkhead/images";
import { busyboxImage, kernelFiles } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MachineRig, sharedParts, testKernels } from "./testing/machine-rig.ts";

/** Another release of Debian's kernel for virtual machines than the tests' own. */
const otherPackage = async (): Promise<string> => {
  const { release } = await testKernels.current();
  const text = await command("apt-cache", ["search", "--names-only", "^linux-image-[0-9.-]+-cloud-amd64$"]);
  const names = [...text.matchAll(/^(linux-image-\S+) /gm)].map(([, name = ""]) => name);
  const [other] = names.filter((name) => name !== `linux-image-${release}`).toSorted();
  if (other === undefined) throw new Error(`apt knows no other kernel than ${release}`);
  return other;
};

/** Built images, with the other tests' in the checkout's cache. */
const cacheDir = join(import.meta.dirname, "../../../node_modules/.cache/bulkhead-images");

const shared = await sharedParts(await busyboxImage());
const directory = await mkdtemp("/tmp/bulkhead-kernels-");
let wanted: string;
let kernel: EnsuredImage;
beforeAll(async () => {
  wanted = await otherPackage();
  const blobs = await BlobStore.open({ root: join(directory, "blobs") });
  const [imported] = await importArchive(await buildKernelImage(wanted, { cacheDir }), blobs);
  if (imported === undefined) throw new Error("the kernel's image was not imported");
  const layers = await LayerStore.open({ root: join(directory, "images"), durable: false });
  const fetcher = { fetch: async (blob: Digest) => (await blobs.open(blob)).stream };
  kernel = await layers.ensureImage(imported.manifestDigest, fetcher);
}, 300_000);
afterAll(async () => {
  await rm(shared.directory, { recursive: true, force: true });
  await rm(directory, { recursive: true, force: true });
});

/** A layer that is the kernel's image of a fleet, as this host has unpacked it. */
const corrupt = async (): Promise<EnsuredImage> => {
  const layer = join(directory, "corrupt");
  for (const [path, content] of Object.entries(kernelFiles("6.1.0-9-test", { "boot/vmlinuz-6.1.0-9-test": "x" }))) {
    await mkdir(dirname(join(layer, path)), { recursive: true });
    await writeFile(join(layer, path), content);
  }
  return { ...kernel, manifestDigest: `sha256:${"0".repeat(64)}` as Digest, layers: [layer] };
};

test("a machine runs on the kernel that it names, and another on Debian's own beside it", async () => {
  await using rig = await MachineRig.open({ ...shared, kernel });
  const [other, own] = await Promise.all([
    rig.start(rig.assignment({ command: ["uname", "-r"], vm: { kernel: kernel.manifestDigest } })),
    rig.start(rig.assignment({ command: ["uname", "-r"] })),
  ]);
  expect(await other.ended).toMatchObject({ reason: "Exited", exit: { exitCode: 0 } });
  expect(await own.ended).toMatchObject({ reason: "Exited", exit: { exitCode: 0 } });
  const release = wanted.slice("linux-image-".length);
  expect([await rig.output(other), other.machine?.kernel]).toEqual([`${release}\n`, release]);
  const { release: newest } = await testKernels.current();
  expect([await rig.output(own), own.machine?.kernel]).toEqual([`${newest}\n`, newest]);
});

test("a kernel that is corrupt is refused with what is wrong, and hurts no other machine", async () => {
  const bad = await corrupt();
  await using rig = await MachineRig.open({ ...shared, kernel: bad });
  const running = await rig.start(rig.assignment({ command: ["sleep", "1000"] }));
  const start = rig.start(rig.assignment({ command: ["true"], vm: { kernel: bad.manifestDigest } }));
  await expect(start).rejects.toMatchObject({
    reason: "ImageInvalid",
    message: "boot/vmlinuz-6.1.0-9-test is cut off in its header.",
  });
  const session = await running.exec({ command: ["cat", "/proc/sys/kernel/osrelease"], tty: false });
  expect(await session.ended).toMatchObject({ exitCode: 0 });
  await running.stop(0);
});

test("one that dies while it boots ends its own machine, with the reason", async () => {
  const layer = join(directory, "dying");
  const [source = ""] = kernel.layers;
  const release = wanted.slice("linux-image-".length);
  await command("cp", ["-a", source, layer]);
  const path = join(layer, "boot", `vmlinuz-${release}`);
  const bytes = await readFile(path);
  // The code that unpacks the kernel, behind the sectors that its header counts: illegal instructions.
  const entry = ((bytes[0x1f1] ?? 0) + 1) * 512;
  bytes.fill(Buffer.from([0x0f, 0x0b]), entry, entry + 0x4000);
  await writeFile(path, bytes);
  const dying = { ...kernel, manifestDigest: `sha256:${"1".repeat(64)}` as Digest, layers: [layer] };
  await using rig = await MachineRig.open({ ...shared, kernel: dying });
  const start = rig.start(rig.assignment({ command: ["true"], vm: { kernel: dying.manifestDigest } }));
  await expect(start).rejects.toMatchObject({
    reason: "RuntimeFailed",
    message: expect.stringMatching(/^the machine ended before its program ran/) as unknown,
  });
  const own = await rig.start(rig.assignment({ command: ["true"] }));
  expect(await own.ended).toMatchObject({ reason: "Exited", exit: { exitCode: 0 } });
});
