import { pathToFileURL } from "node:url";
import { installPackages, missingPackages, requireInstallable } from "./apt.mjs";
import { build, isBuilt } from "./build.mjs";
import { requireMachine } from "./machine.mjs";
import { installModules, missingModules } from "./npm.mjs";
import { createProgress, runMain } from "./progress.mjs";

/** What is still to do for these groups of debian-packages.mjs. */
const workLeft = async (groups) => {
  const packages = await missingPackages(groups);
  const modules = missingModules();
  return { packages, modules, build: modules.length > 0 || !isBuilt(groups.includes("test")) };
};

/**
 * Brings the checkout to a state in which everything runs: Debian packages, npm packages, generated code, native build.
 * Does nothing that is done already.
 * @param {{ groups?: ("run" | "test" | "check")[], needsRoot?: string }} options groups of debian-packages.mjs;
 *   `needsRoot`: the command that needs root whatever is installed
 * @throws {SetupError} saying what failed, why and what to do
 */
export const setUp = async ({ groups = ["run"], needsRoot } = {}) => {
  requireMachine({ needsRoot });
  const progress = createProgress();
  const left = await workLeft(groups);
  requireInstallable(left.packages);
  if (left.packages.length > 0) {
    await progress.step(`Debian packages: ${left.packages.join(" ")}`, () => installPackages(left.packages));
  }
  if (left.modules.length > 0) await progress.step(`npm packages (${left.modules.length} to do)`, installModules);
  if (left.build) await progress.step("native build and generated code", () => build(groups.includes("test")));
};

/** `--check`: says what is to do, does nothing, and answers the exit code. */
const checkOnly = async () => {
  requireMachine();
  const { packages, modules, build: toBuild } = await workLeft(["run"]);
  const lines = [
    ...packages.map((name) => `Debian package ${name}`),
    ...modules.map((path) => `npm package ${path}`),
    ...(toBuild ? ["native build and generated code"] : []),
  ];
  for (const line of lines) process.stderr.write(`  to do: ${line}\n`);
  return lines.length === 0 ? 0 : 1;
};

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await runMain(async () => {
    if (process.argv.includes("--check")) return checkOnly();
    const started = Date.now();
    await setUp();
    process.stderr.write(`  ✓ set up (${((Date.now() - started) / 1000).toFixed(1)} s)\n`);
    return 0;
  });
}
