import { copyFile, mkdir, readdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { command } from "./command.ts";

const lists = "/var/lib/apt/lists";

/** Only libraries follow by themselves: an image holds what its maker named and what that is linked with. */
const isLibrary = (name: string): boolean =>
  /^(lib|zlib1g$)/.test(name) && !/(-perl|-bin|-common|-data|-dev)$/.test(name);

const nameOf = (specification: string): string => specification.split("=")[0]?.split(":")[0] ?? specification;

/** Direct dependencies on libraries, of all the packages together. */
const directLibraries = async (names: readonly string[]): Promise<readonly string[]> => {
  const text = await command("apt-cache", [
    "depends",
    "--no-recommends",
    "--no-suggests",
    "--no-conflicts",
    "--no-breaks",
    "--no-replaces",
    "--no-enhances",
    ...names,
  ]);
  return [...text.matchAll(/^ [ |](?:Pre)?Depends: ([a-z0-9][a-z0-9+.-]*)/gm)]
    .map((match) => match[1] ?? "")
    .filter(isLibrary);
};

/** The packages (`name` or `name=version`) and every library they need, each once, sorted. */
export const withLibraries = async (packages: readonly string[]): Promise<readonly string[]> => {
  const chosen = new Map(packages.map((specification) => [nameOf(specification), specification]));
  for (let frontier = [...chosen.values()]; frontier.length > 0;) {
    const found = new Set(await directLibraries(frontier.map(nameOf)));
    frontier = [...found].filter((name) => !chosen.has(name));
    for (const name of frontier) chosen.set(name, name);
  }
  return [...chosen.values()].sort();
};

// apt's own user cannot write to the directory, and says so for each package.
const download = ["-q", "-o", "APT::Sandbox::User=root", "download"];

/**
 * Downloads into an empty directory what `kept` does not have, and keeps it there. apt checks the signatures of its lists
 * and the hash of every package, kept ones included (one that is wrong is downloaded again).
 */
export const downloadPackages = async (
  packages: readonly string[],
  directory: string,
  kept: string,
): Promise<readonly string[]> => {
  await mkdir(kept, { recursive: true });
  // 'URI' FILE SIZE HASH
  const wanted = await command("apt-get", ["--print-uris", ...download, ...packages], { cwd: directory });
  const names = [...wanted.matchAll(/^'[^']*' ([^ /]+\.deb) /gm)].map((match) => match[1] ?? "");
  const known = new Set(await readdir(kept));
  for (const name of names.filter((each) => known.has(each))) await copyFile(join(kept, name), join(directory, name));
  await command("apt-get", [...download, ...packages], { cwd: directory });
  const files = (await readdir(directory)).filter((name) => name.endsWith(".deb"));
  for (const name of files.filter((each) => !known.has(each))) {
    // Whole under its name or not there: a build that is killed leaves no half a package.
    const unfinished = join(kept, `.${name}.${process.pid}`);
    await copyFile(join(directory, name), unfinished);
    await rename(unfinished, join(kept, name));
  }
  return files.sort().map((name) => join(directory, name));
};

/** Changes when `apt-get update` brought something new, which is when the same names may mean other versions. */
export const packageListsFingerprint = async (): Promise<string> => {
  const seen: string[] = [];
  const names: readonly string[] = await readdir(lists).catch(() => []);
  for (const name of names.toSorted()) {
    const info = await stat(join(lists, name)).catch(() => undefined);
    if (info?.isFile() === true) seen.push(`${name} ${info.size} ${info.mtimeMs}`);
  }
  return seen.join("\n");
};

/** Versions apt can download now, newest first. */
export const availableVersions = async (name: string): Promise<readonly string[]> => {
  const text = await command("apt-cache", ["madison", name]);
  const versions = text
    .split("\n")
    .flatMap((line) => (line.includes("Packages") ? [line.split("|")[1]?.trim() ?? ""] : []));
  return [...new Set(versions)];
};
