import { describe, expect, test } from "vitest";
import { isStorable, storable, storableText, unstorableAt } from "./text.ts";

const highHalf = "\ud83d";
const lowHalf = "\ude00";
const pair = `${highHalf}${lowHalf}`;

describe("text that every store keeps", () => {
  test.each([
    ["plain", "a b/ü~\n\t\x01", true],
    ["a pair", `a${pair}b`, true],
    ["NUL", "a\0b", false],
    ["a high half at the end", `a${highHalf}`, false],
    ["a low half at the beginning", `${lowHalf}a`, false],
    ["a pair in the wrong order", `${lowHalf}${highHalf}`, false],
  ])("%s", (_what, text, wanted) => {
    expect(isStorable(text)).toBe(wanted);
    expect(isStorable(storableText(text))).toBe(true);
    expect(storableText(text) === text).toBe(wanted);
  });

  test("what is replaced leaves the rest as it is", () => {
    expect(storableText(`a\0b${highHalf}c${pair}`)).toBe(`a\ufffdb\ufffdc${pair}`);
  });

  test("a cut never leaves half a character, and never more than asked for", () => {
    expect(storableText(`ab${pair}cd`, 3)).toBe("ab");
    expect(storableText(`ab${pair}cd`, 4)).toBe(`ab${pair}`);
    expect(storableText("abc", 3)).toBe("abc");
    expect(storableText(`abc${highHalf}`, 4)).toBe("abc\ufffd");
  });
});

describe("values", () => {
  test("the first text that cannot be kept is pointed at, names of members too", () => {
    expect(unstorableAt({ a: 1, b: [null, "x", true] })).toBeUndefined();
    expect(unstorableAt({ a: { "b/c~d": ["x", "\0"] } })).toBe("/a/b~1c~0d/1");
    expect(unstorableAt({ a: { [`k${highHalf}`]: 1 } })).toBe("/a/k\ufffd");
    expect(unstorableAt("\0")).toBe("");
    expect(unstorableAt({ a: [{}, "\0"], b: "\0" })).toBe("/a/1");
  });

  test("no depth is too much", () => {
    const depth = 100_000;
    expect(unstorableAt(JSON.parse(`${"[".repeat(depth)}"\\u0000"${"]".repeat(depth)}`))).toBe("/0".repeat(depth));
  });

  test("every text in a value is made storable; a value without fault is the same one", () => {
    const fine = { a: [pair, { b: null }], c: 1 };
    expect(storable(fine)).toBe(fine);
    expect(storable({ a: ["\0", { [`b${lowHalf}`]: "x" }], c: 1 })).toEqual({
      a: ["\ufffd", { "b\ufffd": "x" }],
      c: 1,
    });
  });
});
