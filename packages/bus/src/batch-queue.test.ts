import { expect, test } from "vitest";
import { BatchQueue } from "./batch-queue.ts";

test("what came while a batch was handled is the next batch, in order and bounded", async () => {
  const queue = new BatchQueue<number>(3);
  const first = queue.take();
  queue.push(1);
  expect(await first).toEqual([1]);
  for (const item of [2, 3, 4, 5]) queue.push(item);
  expect(await queue.take()).toEqual([2, 3, 4]);
  expect(await queue.take()).toEqual([5]);
});

test("a source waits while the queue is full", async () => {
  const queue = new BatchQueue<number>(2);
  queue.push(1);
  await queue.room();
  queue.push(2);
  let open = false;
  const room = queue.room().then(() => {
    open = true;
    return open;
  });
  await Promise.resolve();
  expect(open).toBe(false);
  await queue.take();
  expect(await room).toBe(true);
});

test("closing ends both sides", async () => {
  const queue = new BatchQueue<number>(1);
  const taking = queue.take();
  queue.close();
  expect(await taking).toBeUndefined();
  queue.push(1);
  await queue.room();
  expect(await queue.take()).toBeUndefined();
});

test("the oldest can be dropped", async () => {
  const queue = new BatchQueue<number>(9);
  for (const item of [1, 2, 3]) queue.push(item);
  queue.dropOldest();
  expect(await queue.take()).toEqual([2, 3]);
});
