import { watch } from "node:fs";
import { dirname } from "node:path";
import type { LogLine, LogRequest } from "@bulkhead/node";
import { openAfter, openGenerations, type OpenLog } from "./log-files.ts";
import { comparableTime, LineSplitter, parseLogRecord } from "./log-record.ts";
import { findTail } from "./log-tail.ts";

const chunkBytes = 64 * 1024;
/** inotify misses nothing, but its queue may overflow (inotify(7)); then the next look finds it. */
const lookAgainMs = 1_000;

export interface LogSource {
  /** current log files of the runs to read, oldest run first */
  readonly paths: readonly string[];
  /** settles when the newest run has ended and its log is complete; null: it has */
  readonly ended: Promise<unknown> | null;
}

interface Cursor {
  readonly log: OpenLog;
  offset: number;
  readonly splitter: LineSplitter;
}

/** Yields what the file has beyond the cursor. */
async function* readOn(cursor: Cursor): AsyncGenerator<LogLine> {
  for (;;) {
    const buffer = Buffer.allocUnsafe(chunkBytes);
    const { bytesRead } = await cursor.log.file.read(buffer, 0, chunkBytes, cursor.offset);
    if (bytesRead === 0) return;
    cursor.offset += bytesRead;
    for (const line of cursor.splitter.push(buffer.subarray(0, bytesRead))) {
      const record = parseLogRecord(line);
      if (record !== null) yield record;
    }
  }
}

const cursorAt = (log: OpenLog, offset = 0): Cursor => ({ log, offset, splitter: new LineSplitter() });

/** Wakes when the directory changes, the run ends, the reader gives up, or a second has passed. */
class Changes implements Disposable {
  readonly #watcher;
  #seen = false;
  #wake: (() => void) | null = null;
  over = false;

  constructor(directory: string, ended: Promise<unknown> | null, signal: AbortSignal) {
    this.#watcher = watch(directory, { persistent: false }, () => this.#note());
    this.#watcher.on("error", () => this.#note());
    const finish = (): void => {
      this.over = true;
      this.#note();
    };
    if (ended === null) finish();
    else void ended.then(finish);
    signal.addEventListener("abort", () => this.#note(), { once: true });
  }

  #note(): void {
    this.#seen = true;
    this.#wake?.();
  }

  async next(): Promise<void> {
    if (!this.#seen) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = setTimeout(resolve, lookAgainMs);
      await promise;
      clearTimeout(timer);
      this.#wake = null;
    }
    this.#seen = false;
  }

  [Symbol.dispose](): void {
    this.#watcher.close();
  }
}

/** Goes on where `cursor` stands, over rotations, until the run has ended and everything is read. */
async function* follow(
  path: string,
  first: Cursor | null,
  changes: Changes,
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  let cursor = first;
  const waiting: OpenLog[] = [];
  try {
    while (!signal.aborted) {
      const last = changes.over;
      if (cursor !== null) yield* readOn(cursor);
      waiting.push(...(await openAfter(path, cursor?.log.inode ?? -1)));
      for (let log = waiting.shift(); log !== undefined; log = waiting.shift()) {
        // What was written between the last look and the rename is still in the old file.
        if (cursor !== null) {
          yield* readOn(cursor);
          await cursor.log.file.close();
        }
        cursor = cursorAt(log);
        yield* readOn(cursor);
      }
      if (last) return;
      await changes.next();
    }
  } finally {
    await cursor?.log.file.close();
    await Promise.all(waiting.map(({ file }) => file.close()));
  }
}

async function* readAll(source: LogSource, request: LogRequest, signal: AbortSignal): AsyncGenerator<LogLine> {
  const newest = source.paths.at(-1);
  if (newest === undefined) return;
  using changes = request.follow ? new Changes(dirname(newest), source.ended, signal) : null;
  const logs: OpenLog[] = [];
  let handedOver: OpenLog | null = null;
  try {
    for (const path of source.paths) logs.push(...(await openGenerations(path)));
    const start =
      request.tailLines === undefined ? { fileIndex: 0, offset: 0 } : await findTail(logs, request.tailLines);
    let cursor: Cursor | null = null;
    for (const [index, log] of logs.entries()) {
      if (index < start.fileIndex) continue;
      cursor = cursorAt(log, index === start.fileIndex ? start.offset : 0);
      yield* readOn(cursor);
      if (signal.aborted) return;
    }
    if (changes === null) return;
    handedOver = cursor?.log ?? null;
    yield* follow(newest, cursor, changes, signal);
  } finally {
    await Promise.all(logs.filter((log) => log !== handedOver).map(({ file }) => file.close()));
  }
}

/**
 * Lines of an instance's log: the last `tailLines` (all without it) not older than `since`, then, with `follow`, what
 * comes until the newest run ends. Reads no faster than its reader takes.
 */
export async function* readLog(source: LogSource, request: LogRequest, signal: AbortSignal): AsyncGenerator<LogLine> {
  const since = request.since === undefined ? null : comparableTime(request.since);
  for await (const line of readAll(source, request, signal)) {
    if (signal.aborted) return;
    if (since === null || line.at >= since) yield line;
  }
}
