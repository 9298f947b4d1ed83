import { appendFile, mkdtempDisposable, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { LogLine, LogRequest } from "@bulkhead/node";
import { expect, test } from "vitest";
import { newestEpochLogs } from "./log-files.ts";
import { comparableTime, LineSplitter, parseLogRecord } from "./log-record.ts";
import { readLog, type LogSource } from "./log-reader.ts";

const temporary = () => mkdtempDisposable("/tmp/bulkhead-log-");

const at = (n: number): string => `2026-11-23T10:00:${String(n % 60).padStart(2, "0")}.${String(n).padStart(9, "0")}Z`;
const record = (n: number, text = `line ${n}`, tag = "F"): string => `${at(n)} stdout ${tag} ${text}\n`;
const records = (from: number, to: number): string =>
  Array.from({ length: to - from }, (_, n) => record(from + n)).join("");

const readAll = async (source: LogSource, request: Partial<LogRequest> = {}): Promise<LogLine[]> => {
  const lines: LogLine[] = [];
  for await (const line of readLog(source, { follow: false, ...request }, new AbortController().signal)) {
    lines.push({ ...line, text: Buffer.from(line.text) });
  }
  return lines;
};
const texts = (lines: readonly LogLine[]): string[] => lines.map(({ text }) => Buffer.from(text).toString());

test("a record is parsed byte for byte, and what is none is left out", () => {
  expect(parseLogRecord(Buffer.from(`${at(1)} stderr P a b  c`))).toEqual({
    at: at(1),
    stream: "stderr",
    text: Buffer.from("a b  c"),
    complete: false,
  });
  expect(parseLogRecord(Buffer.from(`${at(1)} stdout F `))?.text.byteLength).toBe(0);
  for (const torn of ["", "x", at(1), `${at(1)} stdout`, `${at(1)} other F x`, `${at(1)} stdout X y`]) {
    expect(parseLogRecord(Buffer.from(torn))).toBeNull();
  }
});

test("lines come whole from pieces", () => {
  const splitter = new LineSplitter();
  expect(["ab", "c\nd", "\n\ne"].flatMap((piece) => splitter.push(Buffer.from(piece))).map(String)).toEqual([
    "abc",
    "d",
    "",
  ]);
});

test("times compare as text whatever their zone and precision", () => {
  expect(comparableTime("2026-11-23T12:00:00.5+02:00")).toBe("2026-11-23T10:00:00.500000000Z");
  expect(comparableTime("2026-11-23T10:00:00.123456789Z")).toBe("2026-11-23T10:00:00.123456789Z");
  expect(comparableTime("nonsense")).toBeNull();
});

test("rotated files are read in order, each once", async () => {
  await using directory = await temporary();
  const path = join(directory.path, "1.1.0.log");
  await writeFile(`${path}.2`, records(0, 3));
  await writeFile(`${path}.1`, records(3, 5));
  await writeFile(path, records(5, 6));
  expect(texts(await readAll({ paths: [path], ended: null }))).toEqual([0, 1, 2, 3, 4, 5].map((n) => `line ${n}`));
});

test.each([0, 1, 4, 7, 100])("the last %i lines are found over files and runs", async (tailLines) => {
  await using directory = await temporary();
  const first = join(directory.path, "1.1.0.log");
  const second = join(directory.path, "1.1.1.log");
  await writeFile(first, records(0, 4));
  await writeFile(`${second}.1`, records(4, 7));
  await writeFile(second, records(7, 9));
  const lines = texts(await readAll({ paths: [first, second], ended: null }, { tailLines }));
  expect(lines).toEqual(Array.from({ length: 9 }, (_, n) => `line ${n}`).slice(tailLines === 0 ? 9 : -tailLines));
});

test("a line in several records counts once for the tail", async () => {
  await using directory = await temporary();
  const path = join(directory.path, "1.1.0.log");
  await writeFile(path, record(0) + record(1, "a", "P") + record(2, "b", "P") + record(3, "c") + record(4));
  expect(texts(await readAll({ paths: [path], ended: null }, { tailLines: 2 }))).toEqual(["a", "b", "c", "line 4"]);
});

test("the tail of a file larger than one read is exact", async () => {
  await using directory = await temporary();
  const path = join(directory.path, "1.1.0.log");
  await writeFile(path, Array.from({ length: 900 }, (_, n) => record(n, "x".repeat(n % 300))).join(""));
  for (const tailLines of [1, 299, 700, 899, 900]) {
    const lines = await readAll({ paths: [path], ended: null }, { tailLines });
    expect(lines).toHaveLength(tailLines);
    expect(lines[0]?.at).toBe(at(900 - tailLines));
  }
});

test("since leaves out what is older", async () => {
  await using directory = await temporary();
  const path = join(directory.path, "1.1.0.log");
  await writeFile(path, records(0, 5));
  expect(texts(await readAll({ paths: [path], ended: null }, { since: at(3) }))).toEqual(["line 3", "line 4"]);
});

test("following goes on over a rotation and ends with the run", async () => {
  await using directory = await temporary();
  const path = join(directory.path, "1.1.0.log");
  await writeFile(path, records(0, 2));
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  const seen: string[] = [];
  const reached = (count: number) => expect.poll(() => seen.length, { timeout: 5_000 }).toBe(count);
  const reading = (async () => {
    const log = readLog({ paths: [path], ended }, { follow: true }, new AbortController().signal);
    for await (const { text } of log) seen.push(Buffer.from(text).toString());
  })();
  await reached(2);
  await appendFile(path, record(2).slice(0, 40));
  await appendFile(path, record(2).slice(40));
  await reached(3);
  await appendFile(path, record(3));
  await rename(path, `${path}.1`);
  await writeFile(path, record(4));
  await reached(5);
  await rename(`${path}.1`, `${path}.2`);
  await rename(path, `${path}.1`);
  await writeFile(path, record(5));
  await appendFile(path, record(6));
  end();
  await reading;
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6].map((n) => `line ${n}`));
});

test("a reader that gives up while following ends at once", async () => {
  await using directory = await temporary();
  const path = join(directory.path, "1.1.0.log");
  await writeFile(path, records(0, 1));
  const abort = new AbortController();
  const log = readLog({ paths: [path], ended: new Promise(() => {}) }, { follow: true }, abort.signal);
  expect((await log.next()).value?.complete).toBe(true);
  const next = log.next();
  abort.abort();
  expect((await next).done).toBe(true);
});

test("only the newest epoch is the log of an instance", async () => {
  await using directory = await temporary();
  for (const name of ["1.2.0.log", "1.10.0.log", "1.10.1.log", "1.10.1.log.1", "other"]) {
    await writeFile(join(directory.path, name), "");
  }
  expect(newestEpochLogs(directory.path).map(({ name }) => name)).toEqual(["1.10.0", "1.10.1"]);
  expect(newestEpochLogs(join(directory.path, "none"))).toEqual([]);
});
