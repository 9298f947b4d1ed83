import { once } from "node:events";
import { mkdtempDisposable } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { array, assert, asyncProperty, constantFrom, integer, oneof, record, uint8Array } from "fast-check";
import { expect, test } from "vitest";
import { GuestChannel } from "./channel.ts";
import { GuestExec } from "./exec.ts";
import { encodeFrame, frameTypes, payloadMax, protocolVersion, windowBytes } from "./frames.ts";

const processPlan = { args: ["true"], env: [], cwd: "/", user: "0:0", stopSignal: 15 };
const request = { command: ["true"], tty: false };
const started = encodeFrame(frameTypes.started, 1);

const greeting = (): Buffer => {
  const payload = Buffer.alloc(4);
  payload.writeUInt32LE(protocolVersion);
  return encodeFrame(frameTypes.hello, 0, payload);
};

/** A guest that greets, and at the next that it hears does this. */
const guestThat = async (act: (socket: Socket) => void) => {
  const directory = await mkdtempDisposable("/tmp/bulkhead-hostile-");
  const path = join(directory.path, "agent");
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket.on("error", () => undefined));
    socket.once("data", () => {
      socket.write(greeting());
      socket.once("data", () => act(socket));
    });
  }).listen(path);
  await once(server, "listening");
  return {
    connect: () => Promise.resolve(connect(path)),
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await directory[Symbol.asyncDispose]();
    },
  };
};

const bytes = uint8Array({ maxLength: 400 }).map((each) => Buffer.from(each));
const frames = array(
  record({
    type: oneof(constantFrom(...Object.values(frameTypes)), integer({ min: 0, max: 255 })),
    stream: oneof(constantFrom(0, 1, 2), integer({ min: 0, max: 65_535 })),
    payload: bytes,
  }),
  { maxLength: 20 },
);

interface FleetFailure {
  readonly code: string;
  readonly message: string;
}

const isOurs = (error: unknown): boolean => {
  const { code, message } = error as FleetFailure;
  return ["RUNTIME_FAILED", "EXEC_FAILED", "STATE_CONFLICT"].includes(code) && /^[\x20-\x7e]*$/.test(message);
};
const isBetween = (value: number | null, least: number, most: number): boolean =>
  value === null || (value >= least && value <= most);

/** How a command ends in a guest that answers it so: as the port `ExecSession` says, or with an error of ours. */
const endsWell = async (connectGuest: () => Promise<Socket>): Promise<boolean> => {
  try {
    const session = await GuestExec.open(await GuestChannel.open(connectGuest), request, processPlan);
    session.stdout.resume();
    session.stderr?.resume();
    const { exitCode, signal } = await session.ended;
    return isBetween(exitCode, 0, 255) && isBetween(signal, 1, 64);
  } catch (error) {
    return isOurs(error);
  }
};

test("whatever a guest answers to a command, the command ends with a code, a signal or an error of ours", async () => {
  await assert(
    asyncProperty(frames, bytes, async (said, noise) => {
      const all = Buffer.concat([...said.map((each) => encodeFrame(each.type, each.stream, each.payload)), noise]);
      await using guest = await guestThat((socket) => socket.end(Buffer.concat([started, all])));
      expect(await endsWell(guest.connect)).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test("a guest that sends more than anybody reads is cut off, and little of it is held", async () => {
  const part = encodeFrame(frameTypes.output, 1, Buffer.alloc(60_000));
  await using guest = await guestThat((socket) => {
    socket.write(started);
    for (let sent = 0; sent < 100; sent += 1) socket.write(part);
  });
  const session = await GuestExec.open(await GuestChannel.open(guest.connect), request, processPlan);
  // Nobody reads: it ends nevertheless.
  expect(await session.ended).toEqual({ exitCode: null, signal: 9 });
  expect(session.stdout.readableLength + session.stdout.waiting).toBeLessThanOrEqual(windowBytes + payloadMax);
});

test("a guest that says nothing of a command has failed it, and is told to end it", async () => {
  const heard: Buffer[] = [];
  const closing = encodeFrame(frameTypes.close, 1);
  const { promise: told, resolve } = Promise.withResolvers<boolean>();
  await using guest = await guestThat((socket) => {
    socket.on("data", (more: Buffer) => {
      heard.push(more);
      if (Buffer.concat(heard).includes(closing)) resolve(true);
    });
  });
  const channel = await GuestChannel.open(guest.connect);
  const opening = GuestExec.open(channel, request, processPlan, 50);
  await expect(opening).rejects.toMatchObject({ code: "RUNTIME_FAILED", message: expect.stringContaining("50 ms") });
  expect(await told).toBe(true);
  expect(channel.closed).toBe(true);
});

test("a command that is too large is refused, and the connection is not kept for it", async () => {
  await using guest = await guestThat(() => undefined);
  const channel = await GuestChannel.open(guest.connect);
  const large = { ...request, command: ["true", "x".repeat(payloadMax)] };
  await expect(GuestExec.open(channel, large, processPlan)).rejects.toMatchObject({ code: "REQUEST_INVALID" });
  expect(channel.closed).toBe(true);
});

test("a guest that takes nothing of what it is told is cut off", async () => {
  await using guest = await guestThat((socket) => socket.pause());
  const channel = await GuestChannel.open(guest.connect);
  let lost = false;
  channel.listen({ frame: () => undefined, lost: () => (lost = true) });
  const much = Buffer.alloc(65_536);
  for (let sent = 0; sent < 1_000 && !channel.closed; sent += 1) {
    channel.send(frameTypes.input, 1, much);
    if (sent % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await expect.poll(() => lost, { timeout: 10_000 }).toBe(true);
});
