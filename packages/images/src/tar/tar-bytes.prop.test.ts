import { Readable } from "node:stream";
import fc from "fast-check";
import { extract } from "tar-stream";
import { expect, test } from "vitest";
import { tarEnd, tarEntry } from "./tar-bytes.ts";

const part = fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }).filter((text) => !/[\0/]/.test(text));
const path = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join("/"));

test("another implementation reads back what was written, long names included", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        name: path,
        content: fc.uint8Array({ maxLength: 2000 }),
        mode: fc.nat(0o7777),
        uid: fc.nat(2 ** 32 - 2),
        gid: fc.nat(2 ** 21),
      }),
      async ({ content, ...header }) => {
        const reader = extract();
        Readable.from([Buffer.concat([tarEntry(header, content), tarEnd])]).pipe(
          reader as unknown as NodeJS.WritableStream,
        );
        let entries = 0;
        for await (const entry of reader) {
          entries += 1;
          const parts: Uint8Array[] = [];
          for await (const piece of entry as AsyncIterable<Uint8Array>) parts.push(piece);
          expect(entry.header.name).toBe(header.name);
          expect(entry.header.mode).toBe(header.mode);
          expect(Buffer.concat(parts).equals(Buffer.from(content))).toBe(true);
          // tar-stream reads the ids of the plain header only.
          if (header.uid < 8 ** 7) expect(entry.header.uid).toBe(header.uid);
        }
        expect(entries).toBe(1);
      },
    ),
    { numRuns: 200 },
  );
});
