import { once } from "node:events";
import { mkdtempDisposable } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { guestThat } from "../testing/fake-guest.ts";
import { frameTypes } from "./frames.ts";
import { SharedChannel } from "./shared-channel.ts";

test("all who wait for a guest that does not answer are told at once, and who comes then tries again", async () => {
  await using directory = await mkdtempDisposable("/tmp/bulkhead-silent-");
  const path = join(directory.path, "agent");
  const open = new Set<Socket>();
  const server = createServer((socket) => open.add(socket.on("error", () => undefined))).listen(path);
  await once(server, "listening");
  let reached = 0;
  const reach = (): Promise<Socket> => {
    reached += 1;
    return Promise.resolve(connect(path));
  };
  const shared = new SharedChannel(reach, [200]);
  const asked = Array.from({ length: 5 }, () => shared.use(() => undefined));
  expect((await Promise.allSettled(asked)).map(({ status }) => status)).toEqual(Array(5).fill("rejected"));
  expect(reached).toBe(1);
  await expect(shared.use(() => undefined)).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
  expect(reached).toBe(2);
  for (const socket of open) socket.destroy();
  server.close();
});

test("who talks at the same time is heard, although the first of them ends the channel", async () => {
  await using guest = await guestThat(() => undefined);
  const shared = new SharedChannel(guest.connect);
  const say = (number: number) => shared.talk((channel) => channel.sendNumber(frameTypes.signal, 0, number));
  await Promise.all([say(1), say(2), say(3)]);
  await say(4);
  const said = () => new Set(guest.heard.map(({ payload }) => payload.readUInt32LE(0)));
  await expect.poll(said).toEqual(new Set([1, 2, 3, 4]));
  const channel = await shared.use((used) => used);
  expect(await shared.use((used) => used)).toBe(channel);
  await shared.leave();
  expect(channel.closed).toBe(true);
});
