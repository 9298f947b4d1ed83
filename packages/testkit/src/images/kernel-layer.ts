import { tarEnd, tarEntry } from "@bulkhead/images";

/** The first bytes of a bzImage with a setup header, of protocol 2.15. */
export const bzImageHead = (): Buffer => {
  const head = Buffer.alloc(2048);
  head.writeUInt16LE(0xaa55, 0x1fe);
  head.write("HdrS", 0x202, "latin1");
  head.writeUInt16LE(0x020f, 0x206);
  return head;
};

/** Files of a layer that holds a kernel nobody can boot and everybody takes for one; null leaves a file out. */
export const kernelFiles = (
  release: string,
  changes: Readonly<Record<string, Buffer | string | null>> = {},
): Record<string, Buffer | string> => {
  const modules = `lib/modules/${release}`;
  const files: Record<string, Buffer | string | null> = {
    [`boot/vmlinuz-${release}`]: bzImageHead(),
    [`${modules}/modules.dep`]: "kernel/fs/overlay.ko:\n",
    [`${modules}/modules.builtin`]: [
      "virtio_mmio",
      "virtio_blk",
      "virtio_console",
      "virtio_net",
      "virtio_balloon",
      "virtio_rng",
      "pvpanic_mmio",
      "vmw_vsock_virtio_transport",
      "virtiofs",
    ]
      .map((name) => `kernel/${name}.ko\n`)
      .join(""),
    [`${modules}/kernel/fs/overlay.ko`]: "a module",
    ...changes,
  };
  return Object.fromEntries(
    Object.entries(files).flatMap(([path, content]) => (content === null ? [] : [[path, content]])),
  );
};

/** The layer of such files as tar. */
export const kernelLayer = (files: Readonly<Record<string, Buffer | string>>): Buffer =>
  Buffer.concat([...Object.entries(files).map(([name, content]) => tarEntry({ name }, content)), tarEnd]);
