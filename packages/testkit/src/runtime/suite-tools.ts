import { setTimeout } from "node:timers/promises";
import type { Assignment } from "@bulkhead/contracts";
import type { LogLine, Run, Runtime } from "@bulkhead/node";

export const text = (line: LogLine): string => Buffer.from(line.text).toString("utf8");

export const collect = async (lines: AsyncIterable<LogLine>): Promise<LogLine[]> => {
  const all: LogLine[] = [];
  for await (const line of lines) all.push(line);
  return all;
};

export const read = async (stream: NodeJS.ReadableStream): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString("utf8");
};

export const eventually = async (condition: () => boolean | Promise<boolean>, deadlineMs: number): Promise<void> => {
  const deadline = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not met within ${deadlineMs} ms`);
    await setTimeout(5);
  }
};

export const untroubled = (): AbortSignal => new AbortController().signal;

/** Starts an assignment as an agent does. */
export const begin = async (runtime: Runtime, wanted: Assignment, attempt = 0): Promise<Run> => {
  await runtime.prepare(wanted, untroubled());
  const { instanceId, epoch } = wanted;
  return runtime.start({ key: { instanceId, epoch, attempt }, assignment: wanted }, untroubled());
};

/** Ends runs and removes every trace of them. */
export const clear = async (runtime: Runtime, ...runs: Run[]): Promise<void> => {
  for (const run of runs) {
    await run.stop(0);
    await run.ended;
    await run.release();
    await runtime.remove(run.key.instanceId);
  }
};

/** What a start was rejected with. */
export const failureOf = async (start: Promise<Run>): Promise<unknown> => {
  try {
    await start;
  } catch (error) {
    return error;
  }
  throw new Error("it started");
};
