import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { maximumKernelBytes } from "@bulkhead/contracts";
import { bzImageHead, kernelFiles, kernelLayer } from "@bulkhead/testkit/images";
import { describe, expect, test } from "vitest";
import { kernelHeaderFault } from "./kernel-header.ts";
import { kernelLayout } from "./kernel-layout.ts";
import { readKernel } from "./read-kernel.ts";

const release = "6.1.0-9-test";
const never = new AbortController().signal;

const read = (bytes: Buffer) => readKernel(Readable.from([bytes]), never);
const fault = async (bytes: Buffer): Promise<string> => {
  const error = await read(bytes).catch((cause: unknown) => cause as { code?: string; message: string });
  return "code" in error ? `${error.code}: ${error.message}` : "taken";
};

test("a kernel and its modules are found, whatever the layer's compression and the names' beginning", async () => {
  const layout = { release, image: `boot/vmlinuz-${release}`, modules: `lib/modules/${release}` };
  const layer = kernelLayer(kernelFiles(release));
  expect(await read(layer)).toEqual(layout);
  expect(await read(gzipSync(layer))).toEqual(layout);
  const dotted = Object.fromEntries(Object.entries(kernelFiles(release)).map(([name, body]) => [`./${name}`, body]));
  expect(await read(kernelLayer(dotted))).toEqual(layout);
});

describe("refused, and why", () => {
  const changed = (changes: Record<string, Buffer | string | null>) => kernelLayer(kernelFiles(release, changes));
  const image = `boot/vmlinuz-${release}`;
  const modules = `lib/modules/${release}`;
  test.each<[string, Buffer, RegExp]>([
    ["no kernel", changed({ [image]: null }), /^KERNEL_INVALID: The image has no file boot\/vmlinuz-RELEASE/],
    ["two kernels", changed({ "boot/vmlinuz-7": bzImageHead() }), /^KERNEL_INVALID: The image has 2 kernels/],
    ["no list of modules", changed({ [`${modules}/modules.dep`]: null }), /^KERNEL_INVALID: .*modules\.dep/],
    [
      "no list of what is built in",
      changed({ [`${modules}/modules.builtin`]: null }),
      /^KERNEL_INVALID: .*modules\.builtin/,
    ],
    [
      "a text instead of a kernel",
      changed({ [image]: "x".repeat(4096) }),
      /^KERNEL_INVALID: .*neither a bzImage nor an ELF/,
    ],
    ["a kernel that is cut off", changed({ [image]: bzImageHead().subarray(0, 600) }), /^KERNEL_INVALID: .*cut off/],
    ["a release that is a path", changed({ [image]: null, "boot/vmlinuz-..": bzImageHead() }), /names no release/],
    ["a layer that is cut off", changed({}).subarray(0, 2048), /^KERNEL_INVALID: The image's layer cannot be read/],
    ["no tar at all", Buffer.alloc(4096, 7), /^KERNEL_INVALID: The image's layer cannot be read/],
  ])("%s", async (_name, layer, why) => {
    expect(await fault(layer)).toMatch(why);
  });

  test("a kernel above the limit", () => {
    const files = Object.keys(kernelFiles(release)).map((path) => ({ path, sizeBytes: 1 }));
    const large = files.map((file) => (file.path === image ? { ...file, sizeBytes: maximumKernelBytes + 1 } : file));
    expect(() => kernelLayout(large)).toThrow(expect.objectContaining({ code: "KERNEL_TOO_LARGE" }));
  });
});

test("the header: an ELF file for x86-64 and a bzImage of protocol 2.12 are taken, others not", () => {
  const elf = Buffer.alloc(1024);
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]).copy(elf);
  elf.writeUInt16LE(62, 18);
  expect(kernelHeaderFault(elf)).toBeNull();
  elf.writeUInt16LE(183, 18);
  expect(kernelHeaderFault(elf)).toMatch(/neither/);
  expect(kernelHeaderFault(bzImageHead())).toBeNull();
  const old = bzImageHead();
  old.writeUInt16LE(0x020a, 0x206);
  expect(kernelHeaderFault(old)).toBe("has boot protocol 2.10, older than 2.12");
});
