import { Readable } from "node:stream";
import { array, assert, asyncProperty, nat, record, string, uint8Array } from "fast-check";
import { extract } from "tar-stream";
import { expect, test } from "vitest";
import { tarEnd, tarEntry } from "./tar-bytes.ts";

const part = string({ unit: "grapheme", minLength: 1, maxLength: 60 }).filter((text) => !/[\0/]/.test(text));
const path = array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join("/"));

test("another implementation reads back what was written, long names included", async () => {
  await assert(
    asyncProperty(
      record({
        name: path,
        content: uint8Array({ maxLength: 2000 }),
        mode: nat(0o7777),
        // tar-stream reads the ids of the plain header only.
        uid: nat(8 ** 7 - 1),
        gid: nat(2 ** 32 - 2),
      }),
      async ({ content, ...header }) => {
        const reader = extract();
        Readable.from([Buffer.concat([tarEntry(header, content), tarEnd])]).pipe(reader);
        let entries = 0;
        for await (const entry of reader) {
          entries += 1;
          const parts: Uint8Array[] = [];
          for await (const piece of entry as AsyncIterable<Uint8Array>) parts.push(piece);
          expect(entry.header.name).toBe(header.name);
          expect(entry.header.mode).toBe(header.mode);
          expect(Buffer.concat(parts).equals(Buffer.from(content))).toBe(true);
          expect(entry.header.uid).toBe(header.uid);
        }
        expect(entries).toBe(1);
      },
    ),
    { numRuns: 200 },
  );
});
