import type { Digest, LayerProgress } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { pullBars } from "./pull-bars.ts";

const layer = (letter: string, state: LayerProgress["state"], doneBytes: number): LayerProgress => ({
  digest: `sha256:${letter.repeat(64)}` as Digest,
  sizeBytes: 1000,
  doneBytes,
  state,
});

test("a bar for each layer, those that move first", () => {
  const text = pullBars({
    progress: "1 of 3 layers",
    layers: [layer("a", "ready", 1000), layer("b", "waiting", 0), layer("c", "fetching", 500)],
  });
  const [first, ...bars] = text.split("\n");
  expect(first).toBe("1 of 3 layers");
  expect(bars.map((bar) => [bar.slice(2, 14), /\[(=*) *\]/.exec(bar)?.[1]?.length])).toEqual([
    ["cccccccccccc", 12],
    ["bbbbbbbbbbbb", 0],
    ["aaaaaaaaaaaa", 24],
  ]);
  expect(Math.max(...bars.map(({ length }) => length))).toBeLessThan(80);
});

test("before the manifest is there, only what is done now", () => {
  expect(pullBars({ progress: "asking the registry for the manifest", layers: null })).toBe(
    "asking the registry for the manifest",
  );
});

test("more bytes than a layer has fill the bar and no more; none at all fill it", () => {
  const empty = { ...layer("e", "ready", 0), sizeBytes: 0 };
  for (const shown of [layer("d", "fetching", 5000), empty]) {
    expect(pullBars({ progress: null, layers: [shown] })).toContain(`[${"=".repeat(24)}]`);
  }
});
