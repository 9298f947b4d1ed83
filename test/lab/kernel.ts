import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** In the checkout, where git ignores it: it outlives a test run and is no leak. */
const cache = resolve(import.meta.dirname, "../../node_modules/.cache/bulkhead-lab");

/** What a lab host cannot have: three quarters of the package. */
const unused = [
  "drivers/gpu",
  "drivers/media",
  "drivers/net/ethernet",
  "drivers/net/wireless",
  "drivers/staging",
  "sound",
];

/** Debian's kernel, unpacked; nothing of it is installed on this machine. */
export interface LabKernel {
  /** as `uname -r` says it */
  readonly release: string;
  readonly image: string;
  /** what is /lib/modules/RELEASE on the lab host */
  readonly modules: string;
}

const kernelIn = (directory: string, release: string): LabKernel => ({
  release,
  image: join(directory, release, "boot", `vmlinuz-${release}`),
  modules: join(directory, release, "lib/modules", release),
});

/** The package that the metapackage stands for: `linux-image-6.1.0-NN-amd64`. */
const packageName = async (): Promise<string> => {
  const ask = async (): Promise<string | undefined> => {
    const { stdout } = await run("apt-cache", ["depends", "linux-image-amd64"]).catch(() => ({ stdout: "" }));
    return /^\s*Depends: (linux-image-\S+)$/m.exec(stdout)?.[1];
  };
  const known = await ask();
  if (known !== undefined) return known;
  await run("apt-get", ["update", "-q"]);
  const updated = await ask();
  if (updated === undefined) throw new Error("apt knows no kernel package linux-image-amd64");
  return updated;
};

/** Finds the kernel in the cache, or downloads and unpacks it there: 70 MB, four seconds. */
export const labKernel = async (): Promise<LabKernel> => {
  const cached = existsSync(cache) ? readdirSync(cache).filter((name) => !name.startsWith(".")) : [];
  const [newest] = cached.toSorted((a, b) => b.localeCompare(a, "en", { numeric: true }));
  if (newest !== undefined) return kernelIn(cache, newest);
  const name = await packageName();
  const release = name.slice("linux-image-".length);
  mkdirSync(cache, { recursive: true });
  const directory = mkdtempSync(join(cache, ".unpacking-"));
  try {
    await run("apt-get", ["download", "-q", "-o", "APT::Sandbox::User=root", name], { cwd: directory });
    const archive = readdirSync(directory).find((file) => file.endsWith(".deb")) ?? "";
    await run("dpkg", ["-x", join(directory, archive), join(directory, release)]);
    for (const part of unused) {
      rmSync(join(directory, release, "lib/modules", release, "kernel", part), { recursive: true, force: true });
    }
    await run("depmod", ["-b", join(directory, release), release]);
    // Two that begin at the same time both unpack; the first to finish is kept.
    if (!existsSync(join(cache, release))) renameSync(join(directory, release), join(cache, release));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return kernelIn(cache, release);
};

/** Paths below the modules directory of `names` and all they depend on, in the order in which they load. */
export const modulePaths = ({ modules }: LabKernel, names: readonly string[]): string[] => {
  const dependencies = new Map<string, string[]>();
  for (const line of readFileSync(join(modules, "modules.dep"), "utf8").split("\n")) {
    const [path = "", list = ""] = line.split(":");
    // depmod lists the last dependency first.
    dependencies.set(
      path,
      list
        .split(" ")
        .filter((entry) => entry !== "")
        .toReversed(),
    );
  }
  const builtIn = readFileSync(join(modules, "modules.builtin"), "utf8");
  const nameOf = (path: string): string =>
    path
      .slice(path.lastIndexOf("/") + 1)
      .replace(/\.ko$/, "")
      .replaceAll("-", "_");
  const byName = new Map([...dependencies.keys()].map((path) => [nameOf(path), path]));
  const ordered = new Set<string>();
  for (const name of names) {
    const path = byName.get(name);
    if (path === undefined) {
      if (builtIn.includes(`/${name}.ko`)) continue;
      throw new Error(`this kernel has no module ${name}`);
    }
    for (const each of [...(dependencies.get(path) ?? []), path]) ordered.add(each);
  }
  return [...ordered];
};
