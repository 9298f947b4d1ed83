import { once } from "node:events";
import { mkdtempDisposable } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { assert, asyncProperty, uint8Array } from "fast-check";
import { expect, test } from "vitest";
import { GuestChannel } from "./channel.ts";
import { encodeFrame, FrameReader, frameTypes, protocolVersion, type Frame } from "./frames.ts";
import { becomeInGuest, freezeGuest, thawGuest } from "./orders.ts";

const number = (value: number): Buffer => {
  const payload = Buffer.alloc(4);
  payload.writeInt32LE(value);
  return payload;
};

/** A guest that greets, hears, and answers what the test says; `heard` is what it was told. */
const guestThat = async (answer: (frame: Frame, socket: Socket) => void) => {
  const directory = await mkdtempDisposable("/tmp/bulkhead-orders-");
  const path = join(directory.path, "agent");
  const heard: Frame[] = [];
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket.on("error", () => undefined));
    const reader = new FrameReader();
    socket.on("data", (bytes) => {
      for (const frame of reader.take(bytes)) {
        if (frame.type === frameTypes.hello) socket.write(encodeFrame(frameTypes.hello, 0, number(protocolVersion)));
        else if (frame.type !== frameTypes.clock) {
          heard.push(frame);
          answer(frame, socket);
        }
      }
    });
  }).listen(path);
  await once(server, "listening");
  return {
    heard,
    channel: () => GuestChannel.open(() => Promise.resolve(connect(path))),
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await directory[Symbol.asyncDispose]();
    },
  };
};

const answering = (errno: number) =>
  guestThat(({ type, stream }, socket) => socket.write(encodeFrame(type, stream, number(errno))));

test("orders are carried out when the guest says so", async () => {
  await using guest = await answering(0);
  await freezeGuest(await guest.channel());
  await thawGuest(await guest.channel());
  const identity = { hostname: "copy-1", network: undefined, machineId: "00112233445566778899aabbccddeeff" };
  await becomeInGuest(await guest.channel(), identity);
  await becomeInGuest(await guest.channel(), identity);
  expect(guest.heard.map(({ type }) => type)).toEqual([64, 65, 66, 66]);
  const [first, second] = guest.heard.slice(2).map(({ payload }) => payload);
  // Never the same randomness twice, and then the words of native/guest/src/settings.h.
  expect(first?.subarray(0, 64).equals(second?.subarray(0, 64) ?? Buffer.alloc(0))).toBe(false);
  expect(first?.subarray(64).toString().split("\0")).toEqual([
    "hostname=copy-1",
    expect.stringMatching(/^hosts=[^]*copy-1/),
    expect.stringMatching(/^resolv\.conf=/),
    "machine-id=00112233445566778899aabbccddeeff",
    "",
    "",
  ]);
});

test.each([
  [16, "SNAPSHOT_UNSUPPORTED", /has left the instance's cgroup/],
  [110, "SNAPSHOT_UNSUPPORTED", /does not stop/],
  [95, "SNAPSHOT_UNSUPPORTED", /keeps no cgroup/],
  [5, "RUNTIME_FAILED", /could not keep its processes still: EIO/],
])("errno %i of a guest that does not freeze is told as what it means", async (errno, code, message) => {
  await using guest = await answering(errno);
  const refused = freezeGuest(await guest.channel());
  await expect(refused).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
});

test("a connection ends with its last order, and takes no other", async () => {
  await using guest = await answering(0);
  const channel = await guest.channel();
  await freezeGuest(channel);
  await expect(thawGuest(channel)).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
  expect(guest.heard.map(({ type }) => type)).toEqual([64]);
});

test("a guest that goes away before it answers has not done it", async () => {
  await using guest = await guestThat((_frame, socket) => socket.destroy());
  await expect(thawGuest(await guest.channel())).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
});

test("whatever a guest answers, an order ends as carried out or as an error of ours", async () => {
  const answers = uint8Array({ maxLength: 12 }).filter((each) => !Buffer.from(each).equals(number(0)));
  await assert(
    asyncProperty(answers, async (payload) => {
      await using guest = await guestThat(({ type, stream }, socket) =>
        socket.write(encodeFrame(type, stream, Buffer.from(payload))),
      );
      await expect(thawGuest(await guest.channel())).rejects.toMatchObject({
        code: "RUNTIME_FAILED",
        message: expect.stringMatching(/^[\x20-\x7e]*$/) as string,
      });
    }),
    { numRuns: 40 },
  );
});
