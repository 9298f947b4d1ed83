import { execFile } from "node:child_process";
import { mkdir, readFile, rm } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** `mount`, `umount` and `mkfs` end in milliseconds unless the disk hangs; in milliseconds. */
const commandMs = 60_000;

/** Runs one of the machine's own file system tools. Rejects with what it said. */
export const fileSystemCommand = async (file: string, args: readonly string[]): Promise<void> => {
  try {
    await run(file, args, { timeout: commandMs, env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C" } });
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr?.trim();
    throw new Error(`${file} failed: ${said === undefined || said === "" ? String(cause) : said}`, { cause });
  }
};

/** Mount points at or below a directory, in the order in which they were mounted. */
export const mountsBelow = async (directory: string): Promise<string[]> =>
  (await readFile("/proc/self/mountinfo", "utf8"))
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((target) => target === directory || target.startsWith(`${directory}/`));

export const isMountPoint = async (path: string): Promise<boolean> => (await mountsBelow(path)).includes(path);

/**
 * Makes a directory in which mounts stay: made private, so that nothing mounted below it travels to the mount
 * namespaces of services, and theirs not here (mount_namespaces(7)).
 */
export const openMountArea = async (directory: string): Promise<void> => {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  if (await isMountPoint(directory)) return;
  await fileSystemCommand("mount", ["--bind", "--make-private", directory, directory]);
};

/** Takes a mount area away with everything mounted in it; one that is not there is fine. */
export const closeMountArea = async (directory: string): Promise<void> => {
  for (const path of (await mountsBelow(directory)).toReversed()) await fileSystemCommand("umount", ["-l", path]);
  await rm(directory, { recursive: true, force: true });
};
