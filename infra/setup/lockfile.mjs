import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "./paths.mjs";

const systems = ["android", "darwin", "freebsd", "linux", "openharmony", "win32", "windows"];
const processors = ["arm64", "x64", "arm", "ia32", "ppc64", "riscv64", "s390x"];

/** Platform fields as npm writes them, read from a binding's name (`@oxfmt/binding-linux-x64-musl`). */
const platformOf = (name) => {
  const words = name.split("/").at(-1).split("-");
  const system = systems.find((word) => words.includes(word)) ?? "none";
  const processor = words.includes("64") ? "x64" : (processors.find((word) => words.includes(word)) ?? "none");
  const libc = words.includes("musl") ? "musl" : words.includes("gnu") ? "glibc" : undefined;
  return {
    cpu: [processor],
    os: [system === "windows" ? "win32" : system],
    ...(libc === undefined ? {} : { libc: [libc] }),
  };
};

/**
 * Optional platform packages that the lockfile's packages name and the lockfile lacks.
 * @param {{ packages: Record<string, { optionalDependencies?: Record<string, string>, dev?: boolean }> }} lock
 */
export const missingPlatformPackages = (lock) =>
  Object.values(lock.packages).flatMap((entry) =>
    Object.entries(entry.optionalDependencies ?? {})
      .filter(([name]) => lock.packages[`node_modules/${name}`] === undefined)
      .map(([name, version]) => ({
        path: `node_modules/${name}`,
        version,
        dev: entry.dev === true,
        ...platformOf(name),
      })),
  );

/**
 * `npm install` with a registry that holds only this platform's builds leaves the others out of the lockfile, and
 * `npm ci` then refuses the lockfile. This writes the entries npm would have written (they pin exact versions; being
 * for other platforms they are never downloaded here, so they carry no integrity). Run after adding a dependency.
 */
if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const file = join(root, "package-lock.json");
  const lock = JSON.parse(readFileSync(file, "utf8"));
  const missing = missingPlatformPackages(lock);
  for (const { path, version, dev, cpu, os, libc } of missing) {
    lock.packages[path] = {
      version,
      cpu,
      ...(dev ? { dev } : {}),
      ...(libc === undefined ? {} : { libc }),
      optional: true,
      os,
    };
  }
  lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
  if (missing.length > 0) writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  process.stdout.write(`${missing.length} platform packages added to package-lock.json\n`);
}
