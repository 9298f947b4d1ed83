import { mkdir, open, readFile, rmdir } from "node:fs/promises";
import { dirname } from "node:path";
import { fileSystemCommand as command, isMountPoint } from "@bulkhead/host";

/** Sockets are names only: what a socket directory may hold, in bytes and in names. */
const socketDirectoryBytes = 1024 * 1024;
const socketDirectoryNames = 4096;

export interface MemoryFileSystem {
  readonly path: string;
  /** null: a socket directory's own bounds */
  readonly sizeBytes: number | null;
  readonly mode: string;
}

/** Mounts a tmpfs, unless it is there. Its pages count to the memory limit of whoever first touches them. */
export const mountMemory = async ({ path, sizeBytes, mode }: MemoryFileSystem): Promise<void> => {
  await mkdir(path, { recursive: true, mode: 0o700 });
  if (await isMountPoint(path)) return;
  const bounds =
    sizeBytes === null ? `size=${socketDirectoryBytes},nr_inodes=${socketDirectoryNames}` : `size=${sizeBytes}`;
  await command("mount", ["-t", "tmpfs", "-o", `${bounds},mode=${mode},nosuid,nodev,noexec`, "bulkhead-share", path]);
};

/** Makes an image file with an ext4 of exactly this size, unless it is there; a crash leaves none or all of it. */
export const makeImage = async (path: string, sizeBytes: number): Promise<void> => {
  const draft = `${path}.new`;
  const there = await open(path, "r").then(
    async (file) => file.close().then(() => true),
    () => false,
  );
  if (there) return;
  const file = await open(draft, "w", 0o600);
  try {
    await file.truncate(sizeBytes);
  } finally {
    await file.close();
  }
  // No blocks for root: what it can hold is what its users can fill. Tables and journal are zeroes in a file of holes.
  await command("mkfs.ext4", [
    "-q",
    "-F",
    "-m",
    "0",
    "-E",
    "root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1,nodiscard",
    draft,
  ]);
  await command("mv", [draft, path]);
};

/** Whether the kernel has loop devices now; opening /dev/loop-control loads them where they are a module (loop(4)). */
const hasLoopDevices = async (): Promise<boolean> => /^ *\d+ loop$/m.test(await readFile("/proc/devices", "utf8"));

/** Mounts an image by a loop device, unless it is there. */
export const mountImage = async (image: string, path: string): Promise<void> => {
  await mkdir(path, { recursive: true, mode: 0o700 });
  if (await isMountPoint(path)) return;
  try {
    await command("mount", ["-t", "ext4", "-o", "loop,nosuid,nodev,noinit_itable", image, path]);
  } catch (cause) {
    if (await hasLoopDevices()) throw cause;
    // All that mount(8) says is "Operation not permitted".
    const why = "this host's kernel has no loop devices, which whatever has a size is kept on";
    throw new Error(`${why}: load its module with \`modprobe loop\`, or leave the size out`, { cause });
  }
};

/** Takes a mounted file system away, in spite of whoever still has files of it open, and its directory. */
export const unmount = async (path: string): Promise<void> => {
  if (await isMountPoint(path)) await command("umount", ["-l", path]);
  await rmdir(path).catch(() => undefined);
  await rmdir(dirname(path)).catch(() => undefined);
};
