import { existsSync, renameSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { GuestKernels } from "@bulkhead/kvm";
import type { LabKernel } from "../lab/kernel.ts";
import { writeMarkedKernel } from "./elf-kernel.ts";

/** In the checkout, where git ignores it: a kernel is fetched, and unpacked, once. */
const cache = resolve(import.meta.dirname, "../../node_modules/.cache/bulkhead-guest-kernels");

/** Debian's kernel for virtual machines as an ELF whose first instructions write a line feed to the serial port. */
export const bootKernel = async (): Promise<LabKernel> => {
  const { release, image } = await new GuestKernels(cache).current();
  const directory = dirname(image);
  const marked = join(directory, "vmlinux-marked");
  if (!existsSync(marked)) {
    const draft = `${marked}.${process.pid}`;
    writeMarkedKernel(image, draft);
    renameSync(draft, marked);
  }
  return { release, image: marked, modules: join(directory, "modules") };
};
