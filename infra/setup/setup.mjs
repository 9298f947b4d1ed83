import { pathToFileURL } from "node:url";
import { installPackages, missingPackages, requireInstallable } from "./apt.mjs";
import { build, isBuilt } from "./build.mjs";
import { requireMachine } from "./machine.mjs";
import { installModules, missingModules } from "./npm.mjs";
import { createProgress, runMain } from "./progress.mjs";

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
  const packages = await missingPackages(groups);
  requireInstallable(packages);
  if (packages.length > 0) {
    await progress.step(`Debian packages: ${packages.join(" ")}`, async () => {
      await installPackages(packages);
    });
  }
  const modules = missingModules();
  if (modules.length > 0) await progress.step(`npm packages: ${modules.length} to install`, installModules);
  if (!isBuilt()) {
    await progress.step("Native build and generated code", async () => {
      await build();
    });
  }
};

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await runMain(async () => {
    const started = Date.now();
    await setUp();
    process.stderr.write(`  ✓ set up (${((Date.now() - started) / 1000).toFixed(1)} s)\n`);
  });
}
