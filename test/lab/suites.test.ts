// The container runtime's own tests, on a host that has cgroup v2 alone and Debian's kernel.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { builtConflictImages, busyboxImage, redisImage } from "@bulkhead/testkit/images";
import { describe, expect, test } from "vitest";
import { attackImage } from "../security/stage.ts";
import { runInside, type InnerTest } from "./inner-run.ts";
import { Lab } from "./lab.ts";
import { suites } from "./suites.ts";

const checkout = resolve(import.meta.dirname, "../..");

/**
 * `npm run test:lab` sets it to 1: every test of every file, instead of those that the list names. Paths instead
 * (`test/security,native/`) are every test of the files below them.
 */
const wanting = process.env["BULKHEAD_LAB_WHOLE"];
const whole = wanting !== undefined;
const deadlineMs = whole ? 7_200_000 : 1_200_000;

const isWanted = (file: string): boolean =>
  whole ? wanting === "1" || wanting.split(",").some((path) => file.startsWith(path)) : suites[file]?.length !== 0;
const files = Object.keys(suites).filter(isWanted);
const wanted = files.flatMap((file) => suites[file] ?? []);

const escaped = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);

const ran = async (): Promise<InnerTest[]> => {
  // The lab host cannot download; it finds the images in the cache.
  for (const build of [busyboxImage, redisImage, builtConflictImages]) await build();
  const attacks = mkdtempSync(join(tmpdir(), "bulkhead-attacks-"));
  await attackImage(attacks).finally(() => rmSync(attacks, { recursive: true, force: true }));
  await using lab = await Lab.boot({ modprobe: ["loop"], inTurns: true, bootMs: 300_000 });
  const { tests, said } = await runInside(lab, checkout, {
    files,
    ...(whole ? {} : { pattern: `(?:^| )(?:${wanted.map(escaped).join("|")})` }),
    timeoutMs: deadlineMs,
    ...(whole ? { onOutput: (text: string) => process.stderr.write(text) } : {}),
  });
  if (tests.length === 0) throw new Error(`no test ran in the lab host:\n${said}`);
  return tests.filter(({ outcome }) => whole || outcome !== "skipped");
};

// Whose tests they are is known when they have run.
const tests = await ran();

describe.each(files)("%s on cgroup v2", (file) => {
  const own = tests.filter((inner) => inner.file === file);

  test("ran, all that is chosen of it", () => {
    const missing = (suites[file] ?? []).filter((title) => !own.some((inner) => inner.title.includes(title)));
    expect(own).not.toEqual([]);
    expect(missing).toEqual([]);
  });

  test.for(own)("$title", ({ outcome, failures }, { skip }) => {
    if (outcome === "skipped") skip("it does not apply to cgroup v2");
    if (outcome === "failed") throw new Error(failures.join("\n\n"));
    expect(outcome).toBe("passed");
  });
});
