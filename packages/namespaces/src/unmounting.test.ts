import type { InstanceId } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { Unmounting } from "./unmounting.ts";

const id = (name: string): InstanceId => name as InstanceId;

test("an instance is waited for until each of its runs has let go, and others are not", async () => {
  const unmounting = new Unmounting();
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  unmounting.add(id("a"), first.promise);
  unmounting.add(id("a"), second.promise);
  const seen: string[] = [];
  const waited = [
    unmounting.of(id("a")).then(() => seen.push("instance")),
    unmounting.all().then(() => seen.push("all")),
  ];
  second.resolve();
  await unmounting.of(id("b"));
  await new Promise((resolve) => setImmediate(resolve));
  expect(seen).toEqual([]);
  first.resolve();
  await Promise.all(waited);
  expect(seen.sort()).toEqual(["all", "instance"]);
});

test("what has let go is forgotten", async () => {
  const unmounting = new Unmounting();
  unmounting.add(id("a"), Promise.resolve());
  await unmounting.all();
  const never = new Promise<void>(() => undefined);
  unmounting.add(id("b"), never);
  expect(await unmounting.of(id("a"))).toBeUndefined();
});
