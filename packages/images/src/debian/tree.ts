import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, copyFile, lchown, lstat, mkdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fleetError } from "@bulkhead/contracts";
import { command } from "./command.ts";
import type { BuildFile, BuildImageInput, BuildLayer } from "./input.ts";

/** Documentation in other words than a program reads. */
const leftOut = ["doc", "man", "info", "locale", "lintian", "bug", "doc-base"];

/** What Debian's base-files and usrmerge give every system. */
const baseDirectories: readonly (readonly [string, number])[] = [
  ["usr/bin", 0o755],
  ["usr/sbin", 0o755],
  ["usr/lib", 0o755],
  ["usr/lib64", 0o755],
  ["dev", 0o755],
  ["etc", 0o755],
  ["home", 0o755],
  ["proc", 0o555],
  ["root", 0o700],
  ["run", 0o755],
  ["sys", 0o555],
  ["tmp", 0o1777],
  ["var/lib", 0o755],
  ["var/log", 0o755],
  ["var/tmp", 0o1777],
];
const mergedLinks = ["bin", "sbin", "lib", "lib64"];

const inside = (root: string, path: string): string => {
  if (!path.startsWith("/") || path.split("/").includes("..")) {
    throw fleetError("REQUEST_INVALID", `"${path}" is not an absolute path inside the image`);
  }
  return join(root, path);
};

const exists = async (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );

/** Equal input must give equal layers, so what was made now gets the time 0. */
const settle = async (
  path: string,
  owner: { mode: number; uid?: number | undefined; gid?: number | undefined },
): Promise<void> => {
  await lchown(path, owner.uid ?? 0, owner.gid ?? 0);
  await chmod(path, owner.mode);
  await utimes(path, 0, 0);
};

/** Missing directories get 0755 whatever the umask is. */
const makeDirectory = async (path: string): Promise<void> => {
  if (await exists(path)) return;
  await makeDirectory(dirname(path));
  await mkdir(path);
  await chmod(path, 0o755);
};

const putFile = async (root: string, path: string, file: BuildFile): Promise<void> => {
  const target = inside(root, path);
  await makeDirectory(dirname(target));
  await rm(target, { force: true });
  if ("content" in file) await writeFile(target, file.content);
  else await copyFile(file.hostPath, target);
  await settle(target, { mode: file.mode ?? 0o644, uid: file.uid, gid: file.gid });
};

/** The skeleton of a Debian root without any package, and the accounts of the image. */
export const putBase = async (root: string, users: BuildImageInput["users"]): Promise<void> => {
  for (const [path, mode] of baseDirectories) {
    await makeDirectory(join(root, path));
    await chmod(join(root, path), mode);
  }
  for (const name of mergedLinks) await symlink(`usr/${name}`, join(root, name));
  const accounts = Object.entries({ root: 0, ...users, nobody: 65_534 });
  const passwd = accounts.map(([name, id]) => {
    const [home, shell] = id === 0 ? ["/root", "/bin/sh"] : ["/nonexistent", "/usr/sbin/nologin"];
    return `${name}:x:${id}:${id}:${name}:${home}:${shell}\n`;
  });
  const files = {
    "/etc/passwd": passwd.join(""),
    "/etc/group": accounts.map(([name, id]) => `${name === "nobody" ? "nogroup" : name}:x:${id}:\n`).join(""),
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "/etc/ld.so.conf": "/usr/local/lib\n/lib/x86_64-linux-gnu\n/usr/lib/x86_64-linux-gnu\n",
  };
  for (const [path, content] of Object.entries(files)) await putFile(root, path, { content });
};

/** Unpacks one .deb; its scripts are not run. */
export const putPackage = async (root: string, deb: string): Promise<void> => {
  const unpack = spawn("/usr/bin/dpkg-deb", ["--fsys-tarfile", deb], { stdio: ["ignore", "pipe", "ignore"] });
  const excluded = leftOut.map((name) => `--exclude=./usr/share/${name}`);
  // Packages still name /bin and /lib, which are links here.
  const put = spawn("/usr/bin/tar", ["-x", "--keep-directory-symlink", "--numeric-owner", ...excluded, "-C", root], {
    stdio: [unpack.stdout, "ignore", "ignore"],
  });
  // tar has its own copy of the pipe; this one would keep it open.
  unpack.stdout.destroy();
  const codes = await Promise.all([unpack, put].map(async (child) => (await once(child, "exit"))[0] as unknown));
  if (codes.some((code) => code !== 0)) {
    throw fleetError(
      "SETUP_FAILED",
      `${deb} could not be unpacked (dpkg-deb and tar ended with ${codes.join(" and ")})`,
    );
  }
};

/** Links for the applets of the busybox that lies in the tree; it is asked itself, so it must run on this machine. */
const putApplets = async (root: string): Promise<void> => {
  const applets = await command(join(root, "usr/bin/busybox"), ["--list"]);
  for (const name of applets.split("\n").filter((line) => /^[a-z0-9_[-]+$/.test(line))) {
    const path = join(root, "usr/bin", name);
    if (!(await exists(path)) && !(await exists(join(root, "usr/sbin", name)))) await symlink("busybox", path);
  }
};

const linkLibraries = async (root: string): Promise<void> => {
  await command("ldconfig", ["-r", root]);
  await rm(join(root, "var/cache/ldconfig"), { recursive: true, force: true });
  await settle(join(root, "etc/ld.so.cache"), { mode: 0o644 });
};

/** Puts everything of the layer that is no package into its tree. */
export const putLayer = async (root: string, layer: BuildLayer): Promise<void> => {
  for (const [path, directory] of Object.entries(layer.directories ?? {})) {
    const target = inside(root, path);
    await makeDirectory(target);
    await settle(target, { mode: directory.mode ?? 0o755, uid: directory.uid, gid: directory.gid });
  }
  for (const [path, file] of Object.entries(layer.files ?? {})) await putFile(root, path, file);
  for (const [path, target] of Object.entries(layer.links ?? {})) {
    const link = inside(root, path);
    await makeDirectory(dirname(link));
    await rm(link, { force: true });
    await symlink(target, link);
  }
  for (const path of layer.remove ?? []) {
    const gone = inside(root, path);
    await putFile(root, `/${join(dirname(gone).slice(root.length), `.wh.${gone.split("/").at(-1) ?? ""}`)}`, {
      content: "",
    });
  }
  if (layer.busyboxApplets === true) await putApplets(root);
  const conf = await readFile(join(root, "etc/ld.so.conf")).catch(() => undefined);
  if (conf !== undefined) await linkLibraries(root);
};
