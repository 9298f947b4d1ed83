import { basename } from "node:path";

const nameOf = (path: string): string => basename(path).replace(/\.ko$/, "").replaceAll("-", "_");

/**
 * Paths, below a kernel's modules directory, of `names` and of all they depend on, in the order in which they load. What
 * is built into the kernel needs none. Throws when the kernel has no such module.
 */
export const modulePaths = (read: (path: string) => Buffer, names: readonly string[]): string[] => {
  const dependencies = new Map<string, string[]>();
  for (const line of read("modules.dep").toString().split("\n")) {
    const [path = "", list = ""] = line.split(":");
    // depmod lists the last dependency first.
    const needed = list.split(" ").filter((entry) => entry !== "");
    dependencies.set(path, needed.toReversed());
  }
  const builtIn = read("modules.builtin").toString();
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
