import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Standstill } from "../engine/engine.ts";
import { runPlace } from "../testing/run-place.ts";
import { goOn, haltOf, writeHalt } from "./halt.ts";

/** A monitor that is asked, and what it was asked for. */
const asked = () => {
  const orders: string[] = [];
  const standstill: Standstill = {
    begin: () => Promise.reject(new Error("not asked for here")),
    save: () => Promise.reject(new Error("not asked for here")),
    end: async (ports) => void orders.push(`end ${ports.split("/").at(-1)}`),
  };
  return { orders, standstill };
};

test("why a run is halted outlives the agent, until it goes on", async () => {
  await using at = await runPlace();
  expect(haltOf(at.paths)).toBeNull();
  await writeHalt(at.paths, "identity");
  expect(haltOf(at.paths)).toBe("identity");
  await writeHalt(at.paths, "thaw");
  expect(haltOf(at.paths)).toBe("thaw");
  const { orders, standstill } = asked();
  await goOn(standstill, at.paths, async () => void orders.push("thaw"));
  expect([orders, haltOf(at.paths)]).toEqual([["end ports", "thaw"], null]);
  expect(await readdir(at.paths.run)).toEqual([]);
});

test("a run that could not be let go on stays marked, for the next agent", async () => {
  await using at = await runPlace();
  await writeHalt(at.paths, "thaw");
  const unreachable = goOn(asked().standstill, at.paths, () => Promise.reject(new Error("nobody listens")));
  await expect(unreachable).rejects.toThrow("nobody listens");
  expect(haltOf(at.paths)).toBe("thaw");
});

test.each(["", "tha"])("a mark that says %j is none of a copy's", async (content) => {
  await using at = await runPlace();
  await writeFile(join(at.paths.run, "halted"), content);
  expect(haltOf(at.paths)).toBe("thaw");
});
