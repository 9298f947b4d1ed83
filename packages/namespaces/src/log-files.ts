import { readdirSync } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { compareEpochs } from "@bulkhead/contracts";
import { parseRunName } from "./instance-paths.ts";

/** Size at which the shim starts a new log file, in bytes, and how many it keeps, the current one included. */
export const logMaxBytes = 10 * 1024 * 1024;
export const logMaxFiles = 3;
/** Runs of one instance whose logs are kept; a crash loop must not fill the disk. */
export const keptRunLogs = 10;

const isMissing = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ENOENT";

const namesIn = (directory: string): string[] => {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
};

/**
 * Log files of runs, oldest run first, with the current file's name; rotated ones have `.1` (newest) and up. At once:
 * every start asks, and a turn through the thread pool costs several times that.
 */
export const listRunLogs = (directory: string): { name: string; path: string }[] =>
  namesIn(directory)
    .filter((name) => name.endsWith(".log"))
    .flatMap((file) => {
      const name = file.slice(0, -".log".length);
      const parsed = parseRunName(name);
      return parsed === null ? [] : [{ name, path: join(directory, file), ...parsed }];
    })
    .sort((a, b) => compareEpochs(a.epoch, b.epoch) || a.attempt - b.attempt);

/** The logs of the newest epoch only: what a user means by "the log" of an instance. */
export const newestEpochLogs = (directory: string): { name: string; path: string }[] => {
  const all = listRunLogs(directory);
  const newest = parseRunName(all.at(-1)?.name ?? "");
  return all.filter(({ name }) => {
    const parsed = parseRunName(name);
    return parsed !== null && newest !== null && compareEpochs(parsed.epoch, newest.epoch) === 0;
  });
};

/** Names of a log's files, oldest first. */
export const generationsOf = (path: string): string[] => [
  ...Array.from({ length: logMaxFiles - 1 }, (_, index) => `${path}.${logMaxFiles - 1 - index}`),
  path,
];

/** An open log file; known by inode, since the shim renames it when it is full. */
export interface OpenLog {
  readonly file: FileHandle;
  readonly inode: number;
}

const openLog = async (path: string): Promise<OpenLog | null> => {
  try {
    const file = await open(path, "r");
    return { file, inode: (await file.stat()).ino };
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
};

/**
 * Opens all files of one log, oldest first. They are opened newest first and each inode once, so that a rotation in
 * between neither loses nor repeats one.
 */
export const openGenerations = async (path: string): Promise<OpenLog[]> => {
  const found: OpenLog[] = [];
  for (const name of generationsOf(path).toReversed()) {
    const opened = await openLog(name);
    if (opened === null) continue;
    if (found.some(({ inode }) => inode === opened.inode)) await opened.file.close();
    else found.push(opened);
  }
  return found.toReversed();
};

/** What follows the file with `inode` in time: everything, when it has been rotated away altogether. */
export const openAfter = async (path: string, inode: number): Promise<OpenLog[]> => {
  const all = await openGenerations(path);
  const at = all.findIndex((log) => log.inode === inode);
  await Promise.all(all.slice(0, at + 1).map(({ file }) => file.close()));
  return all.slice(at + 1);
};
