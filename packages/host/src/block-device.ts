import { readFile, realpath, stat } from "node:fs/promises";

/** A whole disk, as block I/O limits name it. */
export interface BlockDevice {
  readonly major: number;
  readonly minor: number;
}

/** Linux dev_t layout of stat(2) in user space: 12 bits of major and 20 of minor, interleaved (makedev(3)). */
export const deviceNumbers = (device: bigint): BlockDevice => ({
  major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn)),
  minor: Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n)),
});

/**
 * The disk that holds `path`, or null when its file system is not on one disk (tmpfs, btrfs, overlay, network): then
 * I/O limits cannot be enforced for it. A partition answers with its disk, since the kernel limits whole queues.
 */
export const diskOf = async (path: string): Promise<BlockDevice | null> => {
  const device = deviceNumbers((await stat(path, { bigint: true })).dev);
  if (device.major === 0) return null;
  const entry = await realpath(`/sys/dev/block/${device.major}:${device.minor}`).catch(() => null);
  if (entry === null) return null;
  const isPartition = await readFile(`${entry}/partition`, "utf8").then(
    () => true,
    () => false,
  );
  if (!isPartition) return device;
  const [major, minor] = (await readFile(`${entry}/../dev`, "utf8")).trim().split(":").map(Number);
  return major === undefined || minor === undefined ? null : { major, minor };
};
