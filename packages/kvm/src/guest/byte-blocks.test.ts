import { array, assert, integer, property, uint8Array } from "fast-check";
import { expect, test } from "vitest";
import { ByteBlocks } from "./byte-blocks.ts";

const allOf = (blocks: ByteBlocks): Buffer[] => {
  const taken: Buffer[] = [];
  for (let block = blocks.take(); block !== null; block = blocks.take()) taken.push(block);
  return taken;
};

test("what was added comes out in its order, whatever its pieces, and whenever it is taken", () => {
  const pieces = array(uint8Array({ maxLength: 40_000 }), { maxLength: 40 });
  assert(
    property(pieces, integer({ min: 1, max: 10 }), (added, every) => {
      const blocks = new ByteBlocks();
      const taken: Buffer[] = [];
      for (const [index, piece] of added.entries()) {
        blocks.add(piece);
        const block = index % every === 0 ? blocks.take() : null;
        if (block !== null) taken.push(Buffer.from(block));
      }
      taken.push(...allOf(blocks));
      expect(Buffer.concat(taken).equals(Buffer.concat(added))).toBe(true);
      expect(blocks.length).toBe(0);
    }),
  );
});

test("bytes that come one by one wait in few blocks, and nothing waits in none", () => {
  const blocks = new ByteBlocks();
  for (let each = 0; each < 100_000; each += 1) blocks.add(Buffer.alloc(0));
  expect(blocks.take()).toBeNull();
  for (let each = 0; each < 256 * 1024; each += 1) blocks.add(Buffer.from([each % 251]));
  const taken = allOf(blocks);
  expect(taken.length).toBeLessThan(12);
  expect(Math.max(...taken.map(({ length }) => length))).toBe(65_536);
  expect(taken.reduce((sum, { length }) => sum + length, 0)).toBe(256 * 1024);
});
