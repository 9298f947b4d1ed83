import { existsSync, lstatSync, readFileSync } from "node:fs";
import { link, mkdtempDisposable, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { PublishedSockets } from "./published-sockets.ts";
import { SocketDirectory } from "./socket-directory.ts";

const nobody = { connected: () => undefined, settled: () => undefined };
const socketOf = (name: string) => ({ name, mode: 0o777, uid: 0, gid: 0 });
const offerOf = (...names: string[]) => names.map(socketOf);

const placeOf = async () => {
  const root = await mkdtempDisposable("/tmp/bulkhead-published-");
  const notes = join(root.path, "notes");
  return {
    path: root.path,
    notes,
    directory: new SocketDirectory(root.path),
    names: async () => (await readdir(root.path)).filter((name) => name !== "notes").toSorted(),
    noted: () => Object.keys(existsSync(notes) ? (JSON.parse(readFileSync(notes, "utf8")) as object) : {}),
    [Symbol.asyncDispose]: () => root[Symbol.asyncDispose](),
  };
};

test("what an agent that was killed had made, the next one removes, and nothing else", async () => {
  await using place = await placeOf();
  const first = new PublishedSockets(place.directory, place.notes, nobody);
  await first.offer(offerOf("a", "b"));
  await rm(join(place.path, "b"));
  await writeFile(join(place.path, "b"), "another's");
  const second = new PublishedSockets(place.directory, place.notes, nobody);
  expect(await place.names()).toEqual(["b"]);
  await second.offer(offerOf("a", "b"));
  expect(await place.names()).toEqual(["a", "b"]);
  second.withdraw();
  first.withdraw();
  expect(await place.names()).toEqual(["b"]);
});

test("what an agent was killed at while it made it, the next one removes", async () => {
  await using place = await placeOf();
  const draft = join(place.path, ".draft");
  const server = createServer().listen(draft);
  // Killed between the two names of one socket.
  const first = new PublishedSockets(place.directory, place.notes, nobody);
  const killed = vi.spyOn(place.directory, "listen").mockImplementation(async (socket, { making }) => {
    making(lstatSync(draft).ino, ".draft");
    await link(draft, join(place.path, socket.name));
    return Promise.withResolvers<never>().promise;
  });
  void first.offer(offerOf("a"));
  await expect.poll(place.names).toEqual([".draft", "a"]);
  killed.mockRestore();
  const second = new PublishedSockets(place.directory, place.notes, nobody);
  expect([await place.names(), place.noted()]).toEqual([[], []]);
  second.withdraw();
  server.close();
});

test("what cannot be noted is not made", async () => {
  await using place = await placeOf();
  const published = new PublishedSockets(place.directory, join(place.path, "absent", "notes"), nobody);
  await published.offer(offerOf("a"));
  expect(await place.names()).toEqual([]);
  published.withdraw();
});

test("notes say what is there, and no more", async () => {
  await using place = await placeOf();
  const published = new PublishedSockets(place.directory, place.notes, nobody);
  await published.offer(offerOf("a", "b"));
  expect(place.noted()).toEqual(["a", "b"]);
  await published.offer(offerOf("b"));
  expect([await place.names(), place.noted()]).toEqual([["b"], ["b"]]);
  published.withdraw();
  expect([await place.names(), place.noted()]).toEqual([[], []]);
});

test("a guest that offers without end has few of it made, and the last of it in the end", async () => {
  await using place = await placeOf();
  const listens = vi.spyOn(place.directory, "listen");
  const settled = vi.fn();
  const published = new PublishedSockets(place.directory, place.notes, { ...nobody, settled });
  const works = new Set<Promise<void>>();
  for (let each = 0; each < 10_000; each += 1) works.add(published.offer(offerOf(`n${each}`)));
  expect(works.size).toBe(1);
  await Promise.all(works);
  expect(await place.names()).toEqual(["n9999"]);
  expect(listens.mock.calls.length).toBeLessThan(4);
  expect(settled.mock.calls.length).toBeLessThan(4);
  published.withdraw();
});
