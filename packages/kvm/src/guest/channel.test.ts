import { once } from "node:events";
import { mkdtempDisposable } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { guestThat } from "../testing/fake-guest.ts";
import { GuestChannel } from "./channel.ts";
import { encodeFrame, frameTypes, protocolVersion, type Frame } from "./frames.ts";

const greeting = (version: number): Buffer => {
  const payload = Buffer.alloc(4);
  payload.writeUInt32LE(version);
  return encodeFrame(frameTypes.hello, 0, payload);
};

/** A guest whose n-th connection is answered by the n-th of `answers`, and later ones by nothing. */
const guestOf = async (answers: readonly (Buffer | null)[]) => {
  const directory = await mkdtempDisposable("/tmp/bulkhead-guest-");
  const path = join(directory.path, "agent");
  let connections = 0;
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket.on("error", () => undefined));
    const answer = answers[connections++] ?? null;
    socket.once("data", () => answer !== null && socket.write(answer));
  }).listen(path);
  await once(server, "listening");
  return {
    connect: () => Promise.resolve(connect(path)),
    get connections() {
      return connections;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await directory[Symbol.asyncDispose]();
    },
  };
};

test("a guest that overlooked one connection is heard at the next", async () => {
  await using guest = await guestOf([null, greeting(protocolVersion)]);
  const channel = await GuestChannel.open(guest.connect, [50, 10_000]);
  expect(guest.connections).toBe(2);
  expect(channel.closed).toBe(false);
  channel.close();
});

test("a guest that never greets is given up", async () => {
  await using guest = await guestOf([]);
  await expect(GuestChannel.open(guest.connect, [20, 30])).rejects.toMatchObject({
    code: "RUNTIME_FAILED",
    message: "the guest did not greet within 50 ms",
  });
  expect(guest.connections).toBe(2);
});

test("a guest of another version, and one that sends no frames, are refused at once", async () => {
  await using guest = await guestOf([greeting(protocolVersion + 1), Buffer.alloc(64, 0xff)]);
  await expect(GuestChannel.open(guest.connect)).rejects.toMatchObject({
    message: `the guest speaks version ${protocolVersion + 1} of the protocol, this host ${protocolVersion}`,
  });
  await expect(GuestChannel.open(guest.connect)).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
});

test("a connection that has ended before it is used is told at once", async () => {
  await using guest = await guestOf([]);
  const ended = async () => {
    const socket = await guest.connect();
    socket.destroy();
    await once(socket, "close");
    return socket;
  };
  await expect(GuestChannel.open(ended, [30_000])).rejects.toThrow("the machine closed the connection");
});

test("a guest that greets without end is answered once", async () => {
  const again = Buffer.concat(Array.from({ length: 1_000 }, () => greeting(protocolVersion)));
  const clocks: Frame[] = [];
  await using guest = await guestThat(({ type }, socket) => {
    if (type === frameTypes.signal) socket.write(Buffer.concat([again, encodeFrame(frameTypes.freeze, 1)]));
  }, clocks);
  const channel = await guest.channel();
  const { promise: heard, resolve } = Promise.withResolvers<void>();
  channel.listen({ frame: () => resolve(), lost: resolve });
  channel.send(frameTypes.signal, 0);
  await heard;
  channel.send(frameTypes.signal, 0);
  await expect.poll(() => guest.heard.length).toBe(2);
  expect(clocks).toHaveLength(1);
  channel.close();
});
