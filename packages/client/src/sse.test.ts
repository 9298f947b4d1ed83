import { assert, asyncProperty, integer, uniqueArray } from "fast-check";
import { expect, test } from "vitest";
import { parseEventStream, type ServerSentEvent } from "./sse.ts";

const parse = (chunks: readonly Uint8Array[]): Promise<ServerSentEvent[]> =>
  Array.fromAsync(
    parseEventStream(
      (async function* () {
        yield* chunks;
      })(),
    ),
  );

const text =
  ': hello\n\nid: 7\nevent: instance.state\ndata: {"é":1}\n\n: beat\n\nid:8\r\ndata:a\r\ndata: b\r\n\r\nid: 9\ndata: unfinished';

const wanted = [
  { id: "7", event: "instance.state", data: '{"é":1}' },
  { id: "8", event: "message", data: "a\nb" },
];

test("comments are skipped, lines joined, the unfinished last event dropped", async () => {
  expect(await parse([Buffer.from(text)])).toEqual(wanted);
});

test("wherever the stream is cut, the events are the same", async () => {
  const bytes = Buffer.from(text);
  await assert(
    asyncProperty(uniqueArray(integer({ min: 1, max: bytes.length - 1 }), { maxLength: 8 }), async (cuts) => {
      const edges = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
      const chunks = edges.slice(1).map((end, index) => bytes.subarray(edges[index], end));
      expect(await parse(chunks)).toEqual(wanted);
    }),
  );
});
