import { once } from "node:events";
import { Socket } from "node:net";
import { expect, test, vi } from "vitest";
import { frameTypes } from "../guest/frames.ts";
import { guestThat } from "../testing/fake-guest.ts";
import { SocketStream } from "./socket-stream.ts";

const number = 0x8000;
const begin = { type: frameTypes.connect, stream: number, payload: Buffer.from("\0echo") };

test("a connection whose listener ended it before it was carried is closed, and its place is free", async () => {
  await using guest = await guestThat(() => undefined);
  const channel = await guest.channel();
  const socket = new Socket().destroy();
  await once(socket, "close");
  let over = false;
  const stream = new SocketStream(channel, begin, Promise.resolve(socket), () => (over = true));
  await expect.poll(() => guest.heard.map(({ type }) => type)).toEqual([frameTypes.close]);
  stream.frame({ type: frameTypes.close, stream: number, payload: Buffer.alloc(0) });
  expect(over).toBe(true);
  channel.close();
});

test.each([
  ["says more after its end", frameTypes.output, Buffer.from("more")],
  ["says what belongs to none", frameTypes.exec, Buffer.alloc(0)],
])("a guest that %s is cut off", async (_what, type, payload) => {
  await using guest = await guestThat(() => undefined);
  const channel = await guest.channel();
  const stream = new SocketStream(channel, begin, Promise.withResolvers<Socket>().promise, () => undefined);
  stream.frame({ type: frameTypes.output, stream: number, payload: Buffer.alloc(0) });
  expect(channel.closed).toBe(false);
  stream.frame({ type, stream: number, payload });
  await expect.poll(() => channel.closed).toBe(true);
});

test("a guest that is done says so once, whatever it says", async () => {
  await using guest = await guestThat(() => undefined);
  const channel = await guest.channel();
  const socket = new Socket();
  const ends = vi.spyOn(socket, "end");
  const stream = new SocketStream(channel, begin, Promise.resolve(socket), () => undefined);
  await Promise.resolve();
  for (let each = 0; each < 100; each += 1) {
    stream.frame({ type: frameTypes.close, stream: number, payload: Buffer.alloc(0) });
  }
  expect(ends).toHaveBeenCalledTimes(1);
  socket.destroy();
  channel.close();
});
