import { readFileSync } from "node:fs";
import { join } from "node:path";
import { modulePaths, type LabKernel } from "./kernel.ts";

/** What it takes to see the outer machine's files, to have a disk, and to talk to the test. */
const earlyModules = [
  "virtio_pci",
  "9pnet_virtio",
  "9p",
  "overlay",
  "virtio_blk",
  // ext4 asks for it by name when it mounts, and nothing answers such a question here.
  "crc32c_generic",
  "ext4",
  "virtio_console",
] as const;

const directories = ["bin", "checkout", "dev", "disk", "host", "layer", "modules", "outer", "proc", "root", "sys"];

interface Entry {
  readonly path: string;
  readonly mode: number;
  readonly content: Buffer;
}

const align = (size: number): Buffer => Buffer.alloc((4 - (size % 4)) % 4);

/** One member of a "newc" archive: Linux, Documentation/driver-api/early-userspace/buffer-format.rst. */
const member = ({ path, mode, content }: Entry, inode: number): Buffer => {
  const name = Buffer.from(`${path}\0`);
  const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`);
  return Buffer.concat([header, name, align(header.length + name.length), content, align(content.length)]);
};

/** `values` as a file that a shell can source. */
const shellFile = (values: Readonly<Record<string, string>>): Buffer =>
  Buffer.from(
    Object.entries(values)
      .map(([name, value]) => `${name}='${value.replaceAll("'", `'\\''`)}'\n`)
      .join(""),
  );

/** The first file system of a lab host: BusyBox, the modules to reach the second one, and host/init.sh to go there. */
export const buildInitramfs = (kernel: LabKernel, settings: Readonly<Record<string, string>>): Buffer => {
  const modules = modulePaths(kernel, earlyModules);
  const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
  const script = (name: string): Buffer => readFileSync(join(import.meta.dirname, "host", name));
  const file = (path: string, content: Buffer, mode = 0o644): Entry => ({ path, mode: 0o100000 | mode, content });
  const entries: Entry[] = [
    ...directories.map((path) => ({ path, mode: 0o040755, content: Buffer.alloc(0) })),
    file("bin/busybox", readFileSync("/bin/busybox"), 0o755),
    file("init", script("init.sh"), 0o755),
    file("host/plain.sh", script("plain.sh"), 0o755),
    file("host/systemd.sh", script("systemd.sh"), 0o755),
    file("lab.conf", shellFile(settings)),
    file("modules/order", Buffer.from(modules.map((path) => `${nameOf(path)}\n`).join(""))),
    ...modules.map((path) => file(`modules/${nameOf(path)}`, readFileSync(join(kernel.modules, path)))),
    file("TRAILER!!!", Buffer.alloc(0)),
  ];
  return Buffer.concat(entries.map((entry, index) => member(entry, index + 1)));
};
