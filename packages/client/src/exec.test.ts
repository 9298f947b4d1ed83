import { channels, decodeFrame, encodeFrame, type StreamExit } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { WebSocketServer, type WebSocket } from "ws";
import { serve } from "./api.fixture.ts";
import { createClient } from "./client.ts";

const exitFrame = (exit: StreamExit): Uint8Array => encodeFrame(channels.exit, Buffer.from(JSON.stringify(exit)));

/** An API whose exec is a function of the opened socket and the request's query. */
const execApi = async (converse: (socket: WebSocket, query: URLSearchParams) => void) => {
  const api = await serve((_request, response) => void response.writeHead(404).end());
  const sockets = new WebSocketServer({ server: api.server, perMessageDeflate: false });
  sockets.on("connection", (socket, request) => converse(socket, new URL(request.url ?? "", api.url).searchParams));
  return {
    url: api.url,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets.clients) socket.terminate();
      sockets.close();
      await api[Symbol.asyncDispose]();
    },
  };
};

const collect = async (stream: AsyncIterable<Buffer>): Promise<string> =>
  Buffer.concat(await Array.fromAsync(stream)).toString();

test("input, output, errors and exit code of a command", async () => {
  await using api = await execApi((socket, query) => {
    let input = "";
    socket.on("message", (data: Buffer) => {
      const frame = decodeFrame(data);
      if (frame?.channel === channels.stdin) input += Buffer.from(frame.payload).toString();
      if (frame?.channel !== channels.control) return;
      socket.send(encodeFrame(channels.stdout, Buffer.from(`${query.get("command")} ${input}`)));
      socket.send(encodeFrame(channels.stderr, Buffer.from(query.get("tty") ?? "")));
      socket.send(exitFrame({ exitCode: 3, signal: null }));
      socket.close();
    });
  });
  const stream = await createClient({ url: api.url, token: "t" }).instances.exec("web-0", {
    command: ["cat", "-"],
    tty: false,
  });
  stream.stdin.end("hello");
  const [output, errors, exit] = await Promise.all([collect(stream.stdout), collect(stream.stderr), stream.ended]);
  expect(output).toBe('["cat","-"] hello');
  expect(errors).toBe("false");
  expect(exit).toEqual({ exitCode: 3, signal: null });
});

test("a reader that is behind stops the sender", async () => {
  const totalFrames = 2_000;
  const payload = Buffer.alloc(64 * 1024, 120);
  const peer = Promise.withResolvers<WebSocket>();
  await using api = await execApi((socket) => {
    for (let n = 0; n < totalFrames; n += 1) socket.send(encodeFrame(channels.stdout, payload));
    socket.send(exitFrame({ exitCode: 0, signal: null }));
    peer.resolve(socket);
  });
  const stream = await createClient({ url: api.url, token: "t" }).instances.exec("web-0", {
    command: ["yes"],
    tty: false,
  });
  const sender = await peer.promise;
  const first = stream.stdout[Symbol.asyncIterator]();
  await first.next();
  // Nobody reads on: the receiver's buffers fill and the sender's must not empty.
  await expect.poll(() => stream.stdout.readableLength, { timeout: 5_000 }).toBeGreaterThan(0);
  const held = sender.bufferedAmount;
  expect(held).toBeGreaterThan((totalFrames * payload.length) / 2);
  expect(stream.stdout.readableLength).toBeLessThan(4 * 1024 * 1024);
  let bytes = payload.length;
  for (let next = await first.next(); next.done !== true; next = await first.next()) {
    bytes += (next.value as Buffer).length;
    if (bytes >= totalFrames * payload.length) sender.close();
  }
  expect(bytes).toBe(totalFrames * payload.length);
  expect(await stream.ended).toEqual({ exitCode: 0, signal: null });
});

test("a refusal before the upgrade is the problem itself", async () => {
  await using api = await serve((_request, response) => void response.end());
  api.server.on("upgrade", (_request, socket) => {
    const body = JSON.stringify({ code: "STATE_CONFLICT", detail: "web-0 is stopped" });
    socket.end(`HTTP/1.1 409 Conflict\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`);
  });
  const opening = createClient({ url: api.url, token: "t" }).instances.exec("web-0", { command: ["sh"], tty: true });
  await expect(opening).rejects.toMatchObject({ code: "STATE_CONFLICT", message: "web-0 is stopped" });
});

test("a command that could not be started rejects `ended`", async () => {
  await using api = await execApi((socket) => {
    const error = { code: "EXEC_FAILED", detail: '"nope" is not in the image' };
    socket.send(exitFrame({ exitCode: null, signal: null, error }));
    socket.close();
  });
  const stream = await createClient({ url: api.url, token: "t" }).instances.exec("web-0", {
    command: ["nope"],
    tty: false,
  });
  await expect(stream.ended).rejects.toMatchObject({ code: "EXEC_FAILED", message: '"nope" is not in the image' });
});

test("a connection that ends before the command does is an error", async () => {
  await using api = await execApi((socket) => socket.terminate());
  const stream = await createClient({ url: api.url, token: "t" }).instances.exec("web-0", {
    command: ["sh"],
    tty: false,
  });
  await expect(stream.ended).rejects.toMatchObject({ code: "HOST_UNREACHABLE" });
  expect(await collect(stream.stdout)).toBe("");
});

test("size and signals go on the control channel", async () => {
  const controls: unknown[] = [];
  const got = Promise.withResolvers<void>();
  await using api = await execApi((socket) => {
    socket.on("message", (data: Buffer) => {
      const frame = decodeFrame(data);
      controls.push(JSON.parse(Buffer.from(frame?.payload ?? []).toString()));
      if (controls.length === 2) got.resolve();
    });
  });
  const stream = await createClient({ url: api.url, token: "t" }).instances.exec("web-0", {
    command: ["sh"],
    tty: true,
    rows: 5,
    columns: 9,
  });
  stream.resize(40, 120);
  stream.signal(15);
  await got.promise;
  stream.close();
  expect(controls).toEqual([
    { type: "resize", rows: 40, columns: 120 },
    { type: "signal", signal: 15 },
  ]);
});
