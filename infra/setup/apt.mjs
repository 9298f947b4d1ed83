import { chmodSync, existsSync, rmSync, writeFileSync } from "node:fs";
import { ask, runLogged } from "./command.mjs";
import { debianPackages } from "./debian-packages.mjs";
import { SetupError } from "./progress.mjs";

const policyFile = "/usr/sbin/policy-rc.d";

/** The packages of `names` that dpkg does not have installed. */
export const missingFrom = (dpkgOutput, names) => {
  const installed = new Set(
    dpkgOutput
      .split("\n")
      .filter((line) => line.startsWith("installed "))
      .map((line) => line.slice("installed ".length)),
  );
  return names.filter((name) => !installed.has(name));
};

/** Debian packages of these groups that are not installed. */
export const missingPackages = async (groups) => {
  const names = groups.flatMap((group) => Object.keys(debianPackages[group]));
  const { output } = await ask("dpkg-query", ["-W", "-f", "${db:Status-Status} ${Package}\n", ...names]);
  return missingFrom(output, names);
};

/** @throws {SetupError} when packages are missing and this user may not install them */
export const requireInstallable = (missing) => {
  if (missing.length === 0 || process.getuid?.() === 0) return;
  throw new SetupError({
    what: "Debian packages",
    why: `${missing.join(", ")} must be installed, which needs root`,
    remedy: `run this as root once, or: sudo apt-get install --no-install-recommends ${missing.join(" ")}`,
  });
};

/**
 * Installs packages without starting the services some of them bring (nats-server would open its default port).
 * @param {string[]} missing
 */
export const installPackages = async (missing) => {
  const env = { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8" };
  const ownPolicy = !existsSync(policyFile);
  if (ownPolicy) {
    // 101 is invoke-rc.d's "action forbidden by policy".
    writeFileSync(policyFile, "#!/bin/sh\nexit 101\n");
    chmodSync(policyFile, 0o755);
  }
  try {
    await runLogged({
      what: "apt-get update",
      remedy: "check the network and /etc/apt/sources.list, then run the same command again",
      log: "apt-update",
      command: "apt-get",
      args: ["update", "-q"],
      env,
    });
    await runLogged({
      what: `Installing ${missing.join(", ")}`,
      remedy: "mend what apt-get says (`apt-get -f install` often does), then run the same command again",
      log: "apt-install",
      command: "apt-get",
      args: ["install", "-y", "-q", "--no-install-recommends", ...missing],
      env,
    });
  } finally {
    if (ownPolicy) rmSync(policyFile, { force: true });
  }
};
