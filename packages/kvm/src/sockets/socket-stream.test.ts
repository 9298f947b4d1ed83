import { once } from "node:events";
import { Socket } from "node:net";
import { expect, test } from "vitest";
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
