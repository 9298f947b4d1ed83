import { once } from "node:events";
import { mkdtempDisposable } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { GuestChannel } from "../guest/channel.ts";
import { encodeFrame, FrameReader, frameTypes, protocolVersion, type Frame } from "../guest/frames.ts";

export const number = (value: number): Buffer => {
  const payload = Buffer.alloc(4);
  payload.writeInt32LE(value);
  return payload;
};

/** A guest that greets, hears, and answers what the test says; `heard` is what it was told but for the time. */
export const guestThat = async (answer: (frame: Frame, socket: Socket) => void, clocks: Frame[] = []) => {
  const directory = await mkdtempDisposable("/tmp/bulkhead-guest-");
  const path = join(directory.path, "agent");
  const heard: Frame[] = [];
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket.on("error", () => undefined));
    const reader = new FrameReader();
    socket.on("data", (bytes) => {
      for (const frame of reader.take(bytes)) {
        if (frame.type === frameTypes.hello) socket.write(encodeFrame(frameTypes.hello, 0, number(protocolVersion)));
        else if (frame.type === frameTypes.clock) clocks.push(frame);
        else {
          heard.push(frame);
          answer(frame, socket);
        }
      }
    });
  }).listen(path);
  await once(server, "listening");
  const reach = (): Promise<Socket> => Promise.resolve(connect(path));
  return {
    heard,
    connect: reach,
    channel: () => GuestChannel.open(reach),
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await directory[Symbol.asyncDispose]();
    },
  };
};

/** One that answers every order with this errno. */
export const answering = (errno: number) =>
  guestThat(({ type, stream }, socket) => socket.write(encodeFrame(type, stream, number(errno))));
