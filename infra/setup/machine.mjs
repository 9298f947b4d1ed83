import { existsSync } from "node:fs";
import { SetupError } from "./progress.mjs";

/** Oldest Node that these scripts are written for (Debian 12's own). */
const oldestNode = 18;

/**
 * What this machine lacks to be set up at all; empty when nothing. Asked first, because each takes no time and no other
 * step can mend it.
 */
export const machineProblems = ({ platform, arch, nodeVersion, hasApt, isRoot, needsRoot }) => {
  const problems = [];
  if (platform !== "linux")
    problems.push(`Bulkhead needs Linux (this is ${platform}): containers are Linux kernel objects`);
  if (arch !== "x64")
    problems.push(
      `Bulkhead needs an x86-64 machine (this is ${arch}): Node, Postgres and the syscall tables are x86-64`,
    );
  if (Number.parseInt(nodeVersion.slice(1), 10) < oldestNode)
    problems.push(`set-up needs Node ${oldestNode} or newer (this is ${nodeVersion}); install Debian's nodejs and npm`);
  if (platform === "linux" && !hasApt) problems.push("set-up needs apt-get and dpkg-query (Debian 12 or a relative)");
  if (needsRoot !== undefined && !isRoot) problems.push(`${needsRoot} needs root; run it as root or with sudo`);
  return problems;
};

/** @throws {SetupError} naming every problem at once */
export const requireMachine = ({ needsRoot } = {}) => {
  const problems = machineProblems({
    platform: process.platform,
    arch: process.arch,
    nodeVersion: process.version,
    hasApt: existsSync("/usr/bin/apt-get") && existsSync("/usr/bin/dpkg-query"),
    isRoot: process.getuid?.() === 0,
    needsRoot,
  });
  if (problems.length === 0) return;
  throw new SetupError({
    what: "Set-up",
    why: problems.join("; "),
    remedy: "see the requirements in README.md",
  });
};
