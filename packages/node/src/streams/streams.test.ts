import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { PassThrough, Readable, Writable } from "node:stream";
import { channels, decodeFrame, encodeFrame, type Channel, type StreamExit } from "@bulkhead/contracts";
import { assignment, FakeHost, instanceId, settle, until } from "@bulkhead/testkit/runtime";
import { describe, expect, test } from "vitest";
import { WebSocketServer, type RawData, type WebSocket } from "ws";
import type { ExecSession } from "../runtime.ts";
import { framesOf } from "./log-stream.ts";

const one = instanceId(1);

/** The scheduler's end of one stream. */
class Peer {
  readonly frames: { channel: Channel; payload: Buffer }[] = [];
  readonly socket: WebSocket;
  readonly authorization: string | undefined;
  closeCode: number | null = null;

  constructor(socket: WebSocket, request: IncomingMessage) {
    this.socket = socket;
    this.authorization = request.headers.authorization;
    socket.on("message", (data: RawData) => {
      const frame = decodeFrame(data as Buffer);
      if (frame !== undefined) this.frames.push({ channel: frame.channel, payload: Buffer.from(frame.payload) });
    });
    socket.on("close", (code) => (this.closeCode = code));
  }

  send(channel: Channel, payload: Uint8Array | string): void {
    this.socket.send(encodeFrame(channel, Buffer.from(payload)));
  }

  control(message: object): void {
    this.send(channels.control, JSON.stringify(message));
  }

  received(channel: Channel): Buffer {
    return Buffer.concat(this.frames.filter((frame) => frame.channel === channel).map(({ payload }) => payload));
  }

  get exit(): StreamExit | null {
    const frame = this.frames.find(({ channel }) => channel === channels.exit);
    return frame === undefined ? null : (JSON.parse(frame.payload.toString("utf8")) as StreamExit);
  }
}

const listen = async () => {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const peers: Peer[] = [];
  server.on("connection", (socket, request) => peers.push(new Peer(socket, request)));
  return {
    url: `ws://127.0.0.1:${address.port}/internal/streams/1`,
    peer: async (): Promise<Peer> => {
      await until(() => peers.length > 0);
      return peers[0] as Peer;
    },
    [Symbol.asyncDispose]: async () => {
      for (const client of server.clients) client.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};

/** Resolves when a figure above zero has not changed for many turns of the event loop. */
const steady = async (figure: () => number): Promise<void> => {
  let [before, turns] = [0, 0];
  await until(() => {
    const now = figure();
    turns = now > 0 && now === before ? turns + 1 : 0;
    before = now;
    return turns > 5_000;
  });
};

const streamId = "0198c0de-4444-7000-8000-000000000001";

const running = async (url: string) => {
  const host = new FakeHost();
  const agent = await host.start();
  host.control.assign(assignment());
  await settle();
  const stream = { streamId, url, token: "once-only", instanceId: one };
  const exec = (command: string[], tty = false) => host.control.exec({ ...stream, command, tty });
  return { host, agent, stream, exec, run: host.runtime.run(one) };
};

/** A session whose ends the test holds. */
const session = (over: Partial<ExecSession> = {}) => {
  const { promise: ended, resolve: end } = Promise.withResolvers<{ exitCode: number | null; signal: number | null }>();
  const calls: unknown[][] = [];
  const made: ExecSession = {
    stdin: new PassThrough(),
    stdout: new PassThrough(),
    stderr: null,
    ended,
    resize: (...size) => calls.push(["resize", ...size]),
    signal: (signal) => calls.push(["signal", signal]),
    close: () => {
      calls.push(["close"]);
      end({ exitCode: null, signal: 9 });
    },
    ...over,
  };
  return { made, end, calls };
};

describe("exec", () => {
  test("carries input, output and the exit code, with the one-time token", async () => {
    await using server = await listen();
    const { exec } = await running(server.url);
    await exec(["cat"]);
    const peer = await server.peer();
    expect(peer.authorization).toBe("Bearer once-only");
    peer.send(channels.stdin, "through ");
    peer.send(channels.stdin, "and back");
    peer.control({ type: "end-of-input" });
    await until(() => peer.closeCode !== null);
    expect(peer.received(channels.stdout).toString()).toBe("through and back");
    expect(peer.exit).toEqual({ exitCode: 0, signal: null });
    expect(peer.frames.at(-1)?.channel).toBe(channels.exit);
    expect(peer.closeCode).toBe(1000);
  });

  test("a command that cannot start says why on the stream", async () => {
    await using server = await listen();
    const { exec } = await running(server.url);
    await exec(["nope"]);
    const peer = await server.peer();
    await until(() => peer.closeCode !== null);
    expect(peer.exit).toEqual({
      exitCode: null,
      signal: null,
      error: { code: "EXEC_FAILED", detail: "nope is not in the image" },
    });
  });

  test("ten mebibytes arrive whole through a command that echoes them", async () => {
    await using server = await listen();
    const { exec } = await running(server.url);
    await exec(["cat"]);
    const peer = await server.peer();
    const sent = randomBytes(10 * 1024 * 1024);
    for (let offset = 0; offset < sent.length; offset += 65_536) {
      peer.send(channels.stdin, sent.subarray(offset, offset + 65_536));
    }
    peer.control({ type: "end-of-input" });
    await until(() => peer.closeCode !== null, 20_000);
    const sha = (data: Buffer) => createHash("sha256").update(data).digest("hex");
    expect(sha(peer.received(channels.stdout))).toBe(sha(sent));
  });

  test("a reader that stops stops the command's output, and loses nothing of it", async () => {
    await using server = await listen();
    const { exec, run } = await running(server.url);
    const size = 64 * 1024 * 1024;
    let produced = 0;
    const flood = new Readable({
      read(chunk) {
        produced += chunk;
        this.push(produced >= size ? null : Buffer.alloc(chunk));
      },
    });
    const { made, end } = session({ stdout: flood });
    run.exec = async () => made;
    await exec(["flood"]);
    const peer = await server.peer();
    peer.socket.pause();
    // Full: the agent's high water, and what the kernel's two socket buffers hold.
    await steady(() => produced);
    expect(produced).toBeGreaterThan(0);
    expect(produced).toBeLessThan(16 * 1024 * 1024);
    peer.socket.resume();
    end({ exitCode: 0, signal: null });
    await until(() => peer.closeCode !== null, 20_000);
    expect(peer.received(channels.stdout).length).toBeGreaterThan(size - 2 * 65_536);
  });

  test("a command that does not read its input stops the sender, in bounded memory", async () => {
    await using server = await listen();
    const { exec, run, host } = await running(server.url);
    let taken = 0;
    let release: (() => void) | null = null;
    const stdin = new Writable({
      write(chunk: Buffer, _, done) {
        taken += chunk.length;
        release = done;
      },
    });
    const { made, calls } = session({ stdin });
    run.exec = async () => made;
    await exec(["sleep"]);
    const peer = await server.peer();
    const total = 32 * 1024 * 1024;
    for (let sent = 0; sent < total; sent += 65_536) peer.send(channels.stdin, Buffer.alloc(65_536));
    await until(() => release !== null);
    await steady(() => peer.socket.bufferedAmount);
    expect(taken).toBe(65_536);
    expect(peer.socket.bufferedAmount).toBeGreaterThan(total / 2);
    // Its end cannot be read behind all that input: the pings find it.
    peer.socket.terminate();
    for (let pings = 0; calls.length === 0 && pings < 20; pings += 1) await host.clock.advance(15_000);
    expect(calls).toEqual([["close"]]);
  });

  test("a user who goes away ends the command", async () => {
    await using server = await listen();
    const { exec, run } = await running(server.url);
    const { made, calls } = session();
    run.exec = async () => made;
    await exec(["sleep"]);
    (await server.peer()).socket.close(1000);
    await until(() => calls.length > 0);
    expect(calls).toEqual([["close"]]);
  });

  test("terminal size and signals reach the command; with a tty there is one output", async () => {
    await using server = await listen();
    const { exec, run } = await running(server.url);
    const { made, calls, end } = session();
    run.exec = async () => made;
    await exec(["sh"], true);
    const peer = await server.peer();
    peer.control({ type: "resize", rows: 40, columns: 120 });
    peer.control({ type: "signal", signal: 2 });
    await until(() => calls.length === 2);
    expect(calls).toEqual([
      ["resize", 40, 120],
      ["signal", 2],
    ]);
    (made.stdout as PassThrough).end("bye");
    end({ exitCode: null, signal: 2 });
    await until(() => peer.closeCode !== null);
    expect(peer.received(channels.stdout).toString()).toBe("bye");
    expect(peer.exit).toEqual({ exitCode: null, signal: 2 });
  });

  test.each<[string, (peer: Peer) => void]>([
    ["an unknown control message", (peer) => peer.control({ type: "explode" })],
    ["control that is no JSON", (peer) => peer.send(channels.control, "{")],
    ["a size beyond reason", (peer) => peer.control({ type: "resize", rows: 0, columns: 1 })],
    ["an unknown channel", (peer) => peer.socket.send(Buffer.from([9, 1]))],
    ["an empty frame", (peer) => peer.socket.send(Buffer.alloc(0))],
    ["a frame beyond the limit", (peer) => peer.socket.send(Buffer.alloc(65_538))],
  ])("%s ends the stream and the command", async (_, misbehave) => {
    await using server = await listen();
    const { exec, run } = await running(server.url);
    const { made, calls } = session();
    run.exec = async () => made;
    await exec(["sh"]);
    const peer = await server.peer();
    misbehave(peer);
    await until(() => peer.closeCode !== null && calls.length > 0);
    expect([1003, 1009]).toContain(peer.closeCode);
    expect(calls).toEqual([["close"]]);
  });

  test("a background process that keeps the output open does not keep the stream", async () => {
    await using server = await listen();
    const { exec, host, run } = await running(server.url);
    const { made, end } = session();
    run.exec = async () => made;
    await exec(["sh"]);
    const peer = await server.peer();
    (made.stdout as PassThrough).write("said");
    await until(() => peer.received(channels.stdout).length === 4);
    end({ exitCode: 0, signal: null });
    await host.clock.advance(999);
    expect(peer.exit).toBeNull();
    await host.clock.advance(1);
    await until(() => peer.closeCode !== null);
    expect(peer.exit).toEqual({ exitCode: 0, signal: null });
  });

  test("a scheduler that does not answer is no harm", async () => {
    const { url } = await (async () => {
      await using server = await listen();
      return { url: server.url };
    })();
    const { exec, host } = await running(url);
    await exec(["cat"]);
    await until(() => host.log.lines.some(({ message }) => message === "stream not opened"));
    expect(host.runtime.living(one)).toHaveLength(1);
  });

  test("what cannot work is refused before a stream is opened", async () => {
    const { exec, host, stream } = await running("ws://127.0.0.1:9/");
    await expect(
      host.control.exec({ ...stream, url: "http://127.0.0.1:9/", command: ["cat"], tty: false }),
    ).rejects.toMatchObject({
      code: "REQUEST_INVALID",
    });
    host.control.update(one, { desired: "paused" });
    await settle();
    await expect(exec(["cat"])).rejects.toMatchObject({ code: "STATE_CONFLICT" });
    host.control.update(one, { desired: "stopped" });
    await settle();
    await expect(exec(["cat"])).rejects.toMatchObject({ code: "STATE_CONFLICT" });
    await expect(host.control.logs({ ...stream, instanceId: instanceId(7), follow: false })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  test("an agent that stops ends its streams and their commands", async () => {
    await using server = await listen();
    const { exec, agent, host, run } = await running(server.url);
    const { made, calls } = session();
    run.exec = async () => made;
    await exec(["sh"]);
    const peer = await server.peer();
    await settle();
    const stopping = agent.stop();
    await host.clock.advance(5_000);
    await stopping;
    await until(() => peer.closeCode !== null && calls.length > 0);
    expect(peer.closeCode).toBe(1001);
    await expect(
      host.control.exec({ streamId, url: server.url, token: "t", instanceId: one, command: ["a"], tty: false }),
    ).rejects.toThrow("no agent");
  });
});

describe("logs", () => {
  test("lines come with time and mark, each on its own channel, and then the end", async () => {
    await using server = await listen();
    const { host, stream, run } = await running(server.url);
    const at = "2026-01-01T00:00:00.123456789Z";
    run.lines.push(
      { at, stream: "stdout", text: Buffer.from("ready"), complete: true },
      { at, stream: "stderr", text: Buffer.from("part"), complete: false },
    );
    await host.control.logs({ ...stream, follow: false });
    const peer = await server.peer();
    await until(() => peer.closeCode !== null);
    expect(peer.received(channels.stdout).toString()).toBe(`${at} F ready`);
    expect(peer.received(channels.stderr).toString()).toBe(`${at} P part`);
    expect(peer.exit).toEqual({ exitCode: null, signal: null });
  });

  test.each(["its reader goes", "the agent stops"])("following ends when %s", async (who) => {
    await using server = await listen();
    const { host, stream, agent } = await running(server.url);
    const ended: string[] = [];
    const logs = host.runtime.logs.bind(host.runtime);
    host.runtime.logs = async function* follow(...given) {
      yield* logs(...given);
      ended.push("followed");
    };
    await host.control.logs({ ...stream, follow: true });
    const peer = await server.peer();
    if (who === "its reader goes") peer.socket.close(1000);
    const stopping = who === "its reader goes" ? Promise.resolve() : agent.stop();
    await host.clock.advance(5_000);
    await stopping;
    await until(() => peer.closeCode !== null && ended.length > 0);
    expect(ended).toEqual(["followed"]);
  });

  test("a log that cannot be read says why on the stream", async () => {
    await using server = await listen();
    const { host, stream } = await running(server.url);
    // oxlint-disable-next-line require-yield -- it fails before the first line
    host.runtime.logs = async function* broken() {
      throw new Error("EIO");
    };
    await host.control.logs({ ...stream, follow: false });
    const peer = await server.peer();
    await until(() => peer.closeCode !== null);
    expect(peer.exit?.error?.code).toBe("INTERNAL");
  });

  test("a line longer than a frame goes in pieces that say so", () => {
    const text = Buffer.alloc(150_000, "x");
    const frames = [...framesOf({ at: "t", stream: "stdout", text, complete: true })].map((frame) =>
      Buffer.from(frame),
    );
    expect(frames.map((frame) => frame.subarray(0, 4).toString())).toEqual(["t P ", "t P ", "t F "]);
    expect(Buffer.concat(frames.map((frame) => frame.subarray(4)))).toEqual(text);
    expect(frames.every(({ length }) => length <= 65_536)).toBe(true);
    expect([...framesOf({ at: "t", stream: "stdout", text: Buffer.alloc(0), complete: true })]).toHaveLength(1);
  });
});
