import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { missingFrom } from "./apt.mjs";
import { debianPackages } from "./debian-packages.mjs";
import { missingPlatformPackages } from "./lockfile.mjs";
import { machineProblems } from "./machine.mjs";
import { notInstalled } from "./npm.mjs";
import { root } from "./paths.mjs";
import { createProgress, describeFailure } from "./progress.mjs";
import { hashFiles, readStamp } from "./stamp.mjs";
import { addTally, emptyTally, nativeTally, summary, vitestTally } from "./tally.mjs";

const here = join(root, "infra/setup");

test("the lockfile names every platform's packages, so that npm ci takes it", () => {
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  expect(missingPlatformPackages(lock)).toEqual([]);
});

test("the bootstrap uses nothing newer than Debian's Node 18 has, and no package", () => {
  const newer = [
    /import\.meta\.(dirname|filename)/,
    /\bimport\b[^;]*\bwith\s*\{/,
    /\b(Array\.fromAsync|Object\.groupBy|Promise\.(withResolvers|try)|Iterator\.from)\b/,
    /\.(toSorted|toReversed|toSpliced|isSubsetOf|union|intersection|difference)\(/,
    /\b(styleText|globSync|loadEnvFile|execve)\b/,
    /\b(await )?using \w+ =/,
  ];
  const files = readdirSync(here).filter((name) => name.endsWith(".mjs") && !name.includes(".test."));
  expect(files.length).toBeGreaterThan(10);
  const texts = files.map((file) => [file, readFileSync(join(here, file), "utf8")]);
  const offences = texts.flatMap(([file, text]) => [
    ...newer.filter((pattern) => pattern.test(text)).map((pattern) => `${file}: ${pattern}`),
    ...[...text.matchAll(/from "([^"]+)"/g)]
      .filter(([, source]) => !/^(node:|\.)/.test(source))
      .map(([, source]) => `${file}: ${source}`),
  ]);
  expect(offences).toEqual([]);
});

test("every Debian package says why it is there", () => {
  const rows = Object.values(debianPackages).flatMap((packages) => Object.entries(packages));
  expect(rows.filter(([, why]) => why.length < 10)).toEqual([]);
});

test("what a machine lacks is said at once, everything together", () => {
  const fine = {
    platform: "linux",
    arch: "x64",
    nodeVersion: "v18.20.4",
    hasApt: true,
    isRoot: true,
    needsRoot: "npm run up",
  };
  expect(machineProblems(fine)).toEqual([]);
  const bad = { ...fine, arch: "arm64", nodeVersion: "v16.0.0", hasApt: false, isRoot: false };
  expect(machineProblems(bad).map((text) => text.split(" ").slice(0, 2).join(" "))).toEqual([
    "Bulkhead needs",
    "set-up needs",
    "set-up needs",
    "npm run",
  ]);
});

test("dpkg's answer: only what is installed counts", () => {
  const output = "installed cmake\nconfig-files nats-server\nnot-installed g++\n";
  expect(missingFrom(output, ["cmake", "nats-server", "g++", "unknown"])).toEqual(["nats-server", "g++", "unknown"]);
});

test("the installed tree is compared with the lockfile", () => {
  const locked = {
    packages: {
      "": {},
      "packages/a": {},
      "node_modules/x": { version: "1.0.0" },
      "node_modules/other-platform": { version: "1.0.0", optional: true, os: ["darwin"], cpu: ["x64"] },
      "node_modules/other-libc": { version: "1.0.0", optional: true, os: ["linux"], cpu: ["x64"], libc: ["musl"] },
      "node_modules/@bulkhead/a": { link: true, resolved: "packages/a" },
    },
  };
  const installed = {
    packages: {
      "node_modules/x": { version: "1.0.0" },
      "node_modules/@bulkhead/a": { link: true, resolved: "packages/a" },
    },
  };
  expect(notInstalled(locked, installed)).toEqual([]);
  expect(notInstalled(locked, undefined)).toEqual(["node_modules"]);
  expect(notInstalled(locked, { packages: {} })).toEqual(["node_modules/x", "node_modules/@bulkhead/a"]);
  const native = { version: "1.0.0", optional: true, os: ["linux"], cpu: ["x64"], libc: ["glibc"] };
  const withNative = { packages: { ...locked.packages, "node_modules/native": native } };
  expect(notInstalled(withNative, installed)).toEqual(["node_modules/native"]);
  const older = { packages: { ...installed.packages, "node_modules/x": { version: "0.9.0" } } };
  expect(notInstalled(locked, older)).toEqual(["node_modules/x"]);
});

test("a changed, added or removed file changes the hash", () => {
  const [a, b] = [join(here, "apt.mjs"), join(here, "npm.mjs")];
  expect(hashFiles(root, [a, b])).toBe(hashFiles(root, [a, b]));
  expect(hashFiles(root, [a])).not.toBe(hashFiles(root, [a, b]));
  expect(hashFiles(root, [a, join(here, "absent.mjs")])).not.toBe(hashFiles(root, [a]));
});

test("an unreadable stamp means that everything is done again", () => {
  expect(readStamp(join(here, "absent.json"))).toEqual({});
  expect(readStamp(join(here, "apt.mjs"))).toEqual({});
});

test("vitest's report: broken files, unhandled errors and a missing report are failures", () => {
  const report = {
    numPassedTests: 5,
    numFailedTests: 1,
    numPendingTests: 2,
    numTodoTests: 0,
    testResults: [
      { status: "failed", assertionResults: [{ status: "failed" }] },
      { status: "failed", assertionResults: [] },
    ],
  };
  expect(vitestTally(report, 1)).toEqual({ passed: 5, failed: 2, skipped: 2 });
  const green = { numPassedTests: 5, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, testResults: [] };
  expect(vitestTally(green, 0)).toEqual({ passed: 5, failed: 0, skipped: 0 });
  expect(vitestTally(green, 1).failed).toBe(1);
  expect(vitestTally(undefined, 1).failed).toBe(1);
});

test("a native program's own count is taken, and a crash after it is a failure", () => {
  expect(nativeTally("ok\n12 passed, 0 failed\n", 0)).toEqual({ passed: 12, failed: 0, skipped: 0 });
  expect(nativeTally("12 passed, 0 failed\nASan: leak", 1)).toEqual({ passed: 12, failed: 1, skipped: 0 });
  expect(nativeTally("quiet", 0)).toEqual({ passed: 1, failed: 0, skipped: 0 });
});

test("the last line and the exit code; under CI a skipped test is a failure", () => {
  const tally = addTally(emptyTally, { passed: 3, failed: 0, skipped: 1 });
  expect(summary(tally, false)).toEqual({ line: "3 passed, 0 failed", exitCode: 0 });
  expect(summary(tally, true)).toEqual({ line: "3 passed, 1 failed", exitCode: 1 });
});

test("a failure says what, why, what to do, and where the output is", () => {
  const text = describeFailure({ what: "apt", why: "no network", remedy: "connect", shown: ["E: x"], logFile: "/l" });
  for (const part of ["apt failed.", "no network", "connect", "E: x", "/l"]) expect(text).toContain(part);
});

test("in a log a step has one line at its start and one at its end, also when it fails", async () => {
  let text = "";
  const progress = createProgress({ write: (part) => void (text += part), isTTY: false }, () => 0);
  await progress.step("works", async () => "fast");
  await expect(progress.step("breaks", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(text).toBe("  … works\n  ✓ works: fast (0.0 s)\n  … breaks\n  ✗ breaks (0.0 s)\n");
});
