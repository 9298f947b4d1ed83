import { once } from "node:events";
import { existsSync } from "node:fs";
import { lstat, mkdtempDisposable } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { array, assert, asyncProperty, constantFrom, integer, oneof, record, uint8Array } from "fast-check";
import { expect, test } from "vitest";
import { GuestChannel } from "../guest/channel.ts";
import { encodeFrame, FrameReader, frameTypes, protocolVersion, windowBytes, type Frame } from "../guest/frames.ts";
import { guestThat } from "../testing/fake-guest.ts";
import { GuestSockets } from "./guest-sockets.ts";
import { SocketDirectory } from "./socket-directory.ts";

/** A container that listens at `echo` and does with each connection what it is told, and a guest that is the test. */
const sceneOf = async (serve: (socket: Socket) => void) => {
  const root = await mkdtempDisposable("/tmp/bulkhead-carried-");
  const accepted = new Set<Socket>();
  const container = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.add(socket.on("error", () => undefined));
    serve(socket);
  }).listen(join(root.path, "echo"));
  const heard: Frame[] = [];
  const guests: Socket[] = [];
  const agent = createServer((socket) => {
    guests.push(socket.on("error", () => undefined));
    const reader = new FrameReader();
    socket.on("data", (bytes) => {
      for (const frame of reader.take(bytes)) {
        if (frame.type === frameTypes.hello) socket.write(encodeFrame(frameTypes.hello, 0, number(protocolVersion)));
        else heard.push({ ...frame, payload: Buffer.from(frame.payload) });
      }
    });
  }).listen(join(root.path, "agent"));
  await Promise.all([container, agent].map((server) => once(server, "listening")));
  const place = {
    name: "common",
    path: "/common",
    directory: new SocketDirectory(root.path),
    notes: join(root.path, "notes"),
  };
  const open = () => GuestChannel.open(() => Promise.resolve(connect(join(root.path, "agent"))));
  const sockets = new GuestSockets([place], open, 100);
  const carried = sockets.carry();
  const lists = () => heard.filter(({ type }) => type === frameTypes.sockets);
  await expect.poll(() => lists().length, { timeout: 10_000 }).toBeGreaterThan(0);
  return {
    path: root.path,
    sockets,
    guests,
    accepted,
    lists,
    heard: () => heard,
    of: (stream: number) => heard.filter((frame) => frame.stream === stream),
    say: (type: number, stream: number, payload?: Uint8Array) =>
      guests.at(-1)?.write(encodeFrame(type, stream, payload)),
    [Symbol.asyncDispose]: async () => {
      sockets.stop();
      for (const socket of [...accepted, ...guests]) socket.destroy();
      container.close();
      agent.close();
      await carried;
      await root[Symbol.asyncDispose]();
    },
  };
};

const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const echo = (socket: Socket): void => void socket.pipe(socket);
const stream = 0x8000;
const toEcho = Buffer.from("\0echo");
const within = { timeout: 10_000 };

test("a guest is told of sockets with their owners, and its connection carries bytes and ends both ways", async () => {
  await using scene = await sceneOf(echo);
  expect(scene.lists().at(-1)?.payload.toString()).toMatch(/^\0[0-7]+:\d+:\d+:agent\0[0-7]+:\d+:\d+:echo\0$/);
  scene.say(frameTypes.connect, stream, toEcho);
  scene.say(frameTypes.output, stream, Buffer.from("word"));
  scene.say(frameTypes.output, stream);
  const types = () => scene.of(stream).map(({ type }) => type);
  await expect.poll(types, within).toEqual([frameTypes.taken, frameTypes.input, frameTypes.input, frameTypes.close]);
  expect(scene.of(stream).map(({ payload }) => payload.toString("latin1"))).toEqual(["\x04\0\0\0", "word", "", ""]);
  scene.say(frameTypes.close, stream);
  // The number is free, and leads elsewhere.
  scene.say(frameTypes.connect, stream, Buffer.from("\0absent"));
  await expect.poll(types, within).toEqual([18, 17, 17, frameTypes.close, frameTypes.close]);
  expect(scene.sockets.channels).toEqual([
    { kind: "socket", name: "share common", at: "/common", queues: null, uses: 2 },
  ]);
  expect(scene.guests).toHaveLength(1);
});

test("a guest that takes nothing is sent a window, and what it has taken again", async () => {
  const much = Buffer.alloc(3 * windowBytes, "x");
  await using scene = await sceneOf((socket) => void socket.write(much));
  scene.say(frameTypes.connect, stream, toEcho);
  const sent = () => scene.of(stream).reduce((sum, { payload }) => sum + payload.length, 0);
  await expect.poll(sent, within).toBe(windowBytes);
  scene.say(frameTypes.taken, stream, number(1000));
  await expect.poll(sent, within).toBe(windowBytes + 1000);
});

test("a guest that sends more than is taken, or begins more than it may, is cut off and found again", async () => {
  await using scene = await sceneOf((socket) => void socket.pause());
  expect(scene.sockets.problem).toBeNull();
  const cutOff = async (after: () => void): Promise<void> => {
    const [guests, lists] = [scene.guests.length, scene.lists().length];
    after();
    await expect.poll(() => scene.sockets.problem, { ...within, interval: 1 }).not.toBeNull();
    await expect.poll(() => scene.guests.length, within).toBe(guests + 1);
    await expect.poll(() => scene.lists().length, within).toBeGreaterThan(lists);
    expect(scene.sockets.problem).toBeNull();
  };
  await cutOff(() => {
    scene.say(frameTypes.connect, stream, toEcho);
    for (let sent = 0; sent < 12; sent += 1) scene.say(frameTypes.output, stream, Buffer.alloc(60_000));
  });
  await cutOff(() => {
    for (let each = 0; each < 33; each += 1) scene.say(frameTypes.connect, stream + each, toEcho);
  });
  await cutOff(() => void scene.say(frameTypes.connect, stream - 1, toEcho));
  // Nothing is left of any, which who reads finds out.
  for (const socket of scene.accepted) socket.resume();
  await expect
    .poll(() => [...scene.accepted].filter(({ readableEnded, closed }) => !readableEnded && !closed).length, within)
    .toBe(0);
});

test("what a guest's programs listen at is there on the host, and leads to them until it is taken back", async () => {
  await using scene = await sceneOf(echo);
  const mine = join(scene.path, "mine");
  // One that somebody else has, and one that no directory can hold, are not made.
  scene.say(frameTypes.offered, 0, Buffer.from("\x00600:7:8:mine\x00777:0:0:echo\x00777:0:0:../out\0"));
  await expect.poll(() => existsSync(mine), within).toBe(true);
  const { mode, uid, gid } = await lstat(mine);
  expect({ mode: mode & 0o7777, uid, gid }).toEqual({ mode: 0o600, uid: 7, gid: 8 });
  const client = connect(mine);
  client.write("hi");
  const begun = () => scene.heard().find(({ type }) => type === frameTypes.connect);
  await expect.poll(begun, within).toMatchObject({ payload: Buffer.from("\0mine") });
  const number = begun()?.stream ?? 0;
  expect(number).toBeLessThan(stream);
  await expect.poll(() => scene.of(number).map(({ payload }) => String(payload)), within).toContain("hi");
  scene.say(frameTypes.output, number, Buffer.from("ho"));
  const [answer] = (await once(client, "data")) as [Buffer];
  expect(String(answer)).toBe("ho");
  // The guest is not told of its own.
  expect(scene.lists().at(-1)?.payload.includes("mine")).toBe(false);
  scene.say(frameTypes.offered, 0, Buffer.from("\0"));
  await expect.poll(() => existsSync(mine), within).toBe(false);
  scene.say(frameTypes.close, number);
  await once(client, "close");
});

const frames = array(
  record({
    type: oneof(constantFrom(...Object.values(frameTypes)), integer({ min: 0, max: 255 })),
    stream: oneof(constantFrom(0, stream, stream + 1), integer({ min: 0, max: 65_535 })),
    payload: oneof(
      constantFrom(Buffer.from(toEcho), Buffer.from("\0../echo"), number(9)),
      uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    ),
  }),
  { maxLength: 20 },
);

test("a share that was taken away while its guest was lost leads nowhere at the next connection", async () => {
  await using scene = await sceneOf(echo);
  await expect.poll(() => scene.lists().at(-1)?.payload.includes("echo"), within).toBe(true);
  scene.guests.at(-1)?.destroy();
  await expect.poll(() => scene.sockets.problem, { ...within, interval: 1 }).not.toBeNull();
  scene.sockets.revoke("common");
  await using guest = await guestThat(() => undefined);
  const channel = await guest.channel();
  scene.sockets.take(channel, { type: frameTypes.connect, stream, payload: toEcho });
  await expect.poll(() => guest.heard.map(({ type }) => type), within).toEqual([frameTypes.close]);
  expect(scene.accepted.size).toBe(0);
  channel.close();
});

test("whatever a guest says, the next connection is carried", async () => {
  await assert(
    asyncProperty(frames, async (said) => {
      await using scene = await sceneOf(echo);
      for (const each of said) scene.say(each.type, each.stream, each.payload);
      scene.guests.at(-1)?.end();
      await expect.poll(() => scene.guests.length, within).toBe(2);
      await expect.poll(() => scene.lists().length, within).toBeGreaterThan(1);
      scene.say(frameTypes.connect, 0x9000, toEcho);
      scene.say(frameTypes.output, 0x9000, Buffer.from("still"));
      await expect.poll(() => scene.of(0x9000).map(({ payload }) => String(payload)), within).toContain("still");
    }),
    { numRuns: 8 },
  );
});
