import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Area, hostState } from "../test/fixture.ts";
import { compilePlan, PreparedStart, type Started } from "./index.ts";

/** Files that this process has open while the callback runs. */
const withFiles = async (area: Area, work: (numbers: number[], paths: string[]) => Promise<void>): Promise<void> => {
  const paths = ["one", "two"].map((name) => join(area.path, name));
  const numbers = paths.map((path) => openSync(path, "w+", 0o600));
  try {
    await work(numbers, paths);
  } finally {
    for (const number of numbers) closeSync(number);
  }
};

const startWith = async (area: Area, script: string, says: number, numbers: number[]): Promise<Started> => {
  const plan = compilePlan(area.input(["sh", "-c", script], (input) => void (input.descriptors = says)));
  await using prepared = new PreparedStart();
  return await prepared.run(plan, undefined, numbers);
};

test("a program gets its descriptors from 3 on and nothing else, and its shim keeps none", async () => {
  await using area = new Area();
  await withFiles(area, async (numbers, paths) => {
    const script = "echo first >&3; echo second >&4; ls /proc/self/fd; while test ! -e /end; do sleep 0.1; done";
    const { shim } = await startWith(area, script, 2, numbers);
    const held = readdirSync(`/proc/${shim.pid}/fd`).map((fd) => readlinkSync(`/proc/${shim.pid}/fd/${fd}`));
    expect(held.filter((path) => paths.includes(path))).toEqual([]);
    // The directory that ls reads is 5.
    await expect
      .poll(() => area.output("stdout").trim().split("\n"), { timeout: 10_000 })
      .toEqual(["0", "1", "2", "3", "4", "5"]);
    expect(paths.map((path) => readFileSync(path, "utf8"))).toEqual(["first\n", "second\n"]);
  });
});

test("a start whose descriptors are not as many as its plan says fails and leaves nothing", async () => {
  await using area = new Area();
  const { mounts } = hostState();
  await withFiles(area, async (numbers) => {
    for (const says of [0, 1]) {
      await expect(startWith(area, "true", says, numbers)).rejects.toThrow(/descriptors of the program/);
    }
    expect(() => compilePlan(area.input(["true"], (input) => void (input.descriptors = 9)))).toThrow(/more than 8/);
  });
  expect(hostState().mounts).toEqual(mounts);
  expect(area.cgroupsLeft()).toEqual([]);
});
