/**
 * A clean clone to the first answered request: `git clone` of this checkout, `npm run up -- --bare` in it, until
 * /readyz answers 200. Debian and npm packages come from wherever this machine gets them; what was installed before is
 * said in the table, because a machine with everything installed skips that part.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fleetEnvironment } from "../fleet.ts";
import { printFigures, printTable } from "./report.ts";

const goalMs = 180_000;
const root = resolve(import.meta.dirname, "../..");
const directory = mkdtempSync("/tmp/bulkhead-first-up-");
// The services' users pass through it.
chmodSync(directory, 0o711);
const clone = join(directory, "clone");

const began = performance.now();
execFileSync("git", ["clone", "--quiet", root, clone]);
const cloned = performance.now();
const { environment, apiUrl } = await fleetEnvironment(join(directory, "state"));
const up = spawn("npm", ["run", "--silent", "up", "--", "--bare"], {
  cwd: clone,
  env: { ...process.env, ...environment },
  stdio: ["ignore", 2, 2],
  detached: true,
});

const answers = async (): Promise<boolean> => {
  try {
    return (await fetch(`${apiUrl}/readyz`, { signal: AbortSignal.timeout(1_000) })).status === 200;
  } catch {
    return false;
  }
};

let answered = Number.NaN;
try {
  while (!(await answers())) {
    if (up.exitCode !== null) throw new Error(`up ended with ${up.exitCode}`);
    if (performance.now() - began > 10 * goalMs) throw new Error("no answer after half an hour");
    await pause(50);
  }
  answered = performance.now();
} finally {
  const ended = once(up, "exit");
  if (up.pid !== undefined && up.exitCode === null) {
    process.kill(-up.pid, "SIGINT");
    await ended;
  }
  execFileSync("node", [join(clone, "apps/cli/src/main.ts"), "down", "--purge", "--yes"], {
    env: { ...process.env, ...environment, PATH: `${clone}/node_modules/.bin:${process.env["PATH"]}` },
    stdio: ["ignore", 2, 2],
  });
  rmSync(directory, { recursive: true, force: true });
}

printTable([
  ["step", "s"],
  ["git clone", (cloned - began) / 1000],
  ["npm run up to the first answer", (answered - cloned) / 1000],
  ["together", (answered - began) / 1000],
]);
printFigures({
  bench: "first-up",
  p50Ms: answered - began,
  better: "lower",
  goal: "clone to first answered request <= 180 s",
  met: answered - began <= goalMs,
});
