import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { workspacesWith } from "./build.mjs";
import { ask, runShown } from "./command.mjs";
import { binary, logDirectory, pinnedEnvironment, pinnedNode, root } from "./paths.mjs";
import { createProgress, runMain, SetupError } from "./progress.mjs";
import { setUp } from "./setup.mjs";
import { addTally, emptyTally, nativeTally, summary, vitestTally } from "./tally.mjs";

const strict = process.env.CI === "true";
const isRoot = process.getuid?.() === 0;
/** vitest's projects that need root; `unit` does not. */
const rootProjects = ["services", "system", "lab"];
const filters = process.argv.slice(2);

const runVitest = async (project) => {
  const reportFile = join(logDirectory, `vitest-${project}.json`);
  rmSync(reportFile, { force: true });
  const exitCode = await runShown(
    binary("vitest"),
    [
      "run",
      "--project",
      project,
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${reportFile}`,
      ...(filters.length > 0 ? ["--passWithNoTests"] : []),
      ...filters,
    ],
    { env: pinnedEnvironment() },
  );
  const report = existsSync(reportFile) ? JSON.parse(readFileSync(reportFile, "utf8")) : undefined;
  return vitestTally(report, exitCode);
};

const nativeKinds = { "test:native": "native tests", "test:fuzz": "fuzzers" };

const runNative = async (script, folder, progress) => {
  let tally = emptyTally;
  await progress.step(`${nativeKinds[script]} of ${folder}`, async () => {
    const { code, output } = await ask("sh", ["-c", `npm run --silent ${script} 2>&1`], {
      cwd: join(root, folder),
      env: pinnedEnvironment(),
    });
    tally = nativeTally(output, code);
    if (code !== 0) process.stderr.write(`${output}\n`);
    return `${tally.passed} passed, ${tally.failed} failed`;
  });
  return tally;
};

/** Runs leaks.mjs with the pinned Node, because it uses the project's own TypeScript. */
const leaks = (verb) =>
  runShown(pinnedNode, [join(root, "infra/setup/leaks.mjs"), verb, join(logDirectory, "before.json")]);

await runMain(async () => {
  if (strict && !isRoot) {
    throw new SetupError({
      what: "npm test",
      why: "CI=true and not root: the system tests make namespaces, mounts and cgroups",
      remedy: "run it as root, or without CI=true to skip them",
    });
  }
  await setUp({ groups: ["run", "test"] });
  const progress = createProgress();
  const whole = filters.length === 0 && isRoot;
  if (whole) await leaks("before");
  let tally = await runVitest("unit");
  if (isRoot) for (const project of rootProjects) tally = addTally(tally, await runVitest(project));
  else progress.note(`not root: ${rootProjects.join(", ")} and native tests are skipped`);
  if (whole) {
    for (const script of Object.keys(nativeKinds)) {
      for (const folder of workspacesWith(script)) tally = addTally(tally, await runNative(script, folder, progress));
    }
    const code = await leaks("after");
    tally = addTally(tally, { ...emptyTally, [code === 0 ? "passed" : "failed"]: 1 });
  }
  const { line, exitCode } = summary(tally, strict);
  if (strict && tally.skipped > 0) progress.note(`${tally.skipped} skipped tests count as failed under CI=true`);
  process.stdout.write(`${line}\n`);
  return exitCode;
});
