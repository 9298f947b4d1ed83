import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import {
  type Operation,
  type Problem,
  type StreamExit,
  channels,
  decodeFrame,
  encodeFrame,
  maximumFrameBytes,
} from "@bulkhead/contracts";
import { WebSocket } from "ws";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { FakeAgent } from "./testing/fake-agent.ts";
import { TestFleet, adminToken, workload } from "./testing/test-fleet.ts";

let fleet: TestFleet;
let agent: FakeAgent;
beforeAll(async () => {
  fleet = await TestFleet.start({ streamsMax: 4 });
  agent = await fleet.addHost("one");
  await fleet.addImage("app");
  const { body } = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload("shell") });
  await fleet.call("GET", `/v1/operations/${body.id}/wait`);
});
afterAll(() => fleet[Symbol.asyncDispose]());
beforeEach(async () => {
  await vi.waitUntil(() => fleet.scheduler.broker.size === 0, { timeout: 15_000 });
});

const connect = (query: string, options: { protocols?: string[]; token?: string } = {}): WebSocket => {
  const headers = options.protocols === undefined ? { authorization: `Bearer ${options.token ?? adminToken}` } : {};
  const socket = new WebSocket(
    `${fleet.url.replace("http", "ws")}/v1/instances/shell-0/exec${query}`,
    options.protocols ?? [],
    { headers, perMessageDeflate: false },
  );
  socket.on("error", () => undefined);
  return socket;
};

const command = (words: string[]): string => `?command=${encodeURIComponent(JSON.stringify(words))}`;

const json = (channel: 3 | 4, value: unknown): Uint8Array => encodeFrame(channel, Buffer.from(JSON.stringify(value)));

/** Frames of a socket until it closes. */
const collect = async (socket: WebSocket) => {
  const output: Uint8Array[] = [];
  let exit: StreamExit | undefined;
  socket.on("message", (data) => {
    const frame = decodeFrame(data as Buffer);
    if (frame?.channel === channels.stdout) output.push(Buffer.from(frame.payload));
    if (frame?.channel === channels.exit) exit = JSON.parse(Buffer.from(frame.payload).toString()) as StreamExit;
  });
  const [code] = (await once(socket, "close")) as [number];
  return { output: Buffer.concat(output), exit, code };
};

/** What `cat` is: input comes back, its end is the exit. */
const cat = (socket: WebSocket): void => {
  socket.on("message", (data) => {
    const frame = decodeFrame(data as Buffer);
    if (frame?.channel === channels.stdin) {
      socket.send(encodeFrame(channels.stdout, frame.payload), () => {
        if (socket.bufferedAmount < maximumFrameBytes) socket.resume();
      });
      if (socket.bufferedAmount > 4 * maximumFrameBytes) socket.pause();
    }
    if (frame?.channel === channels.control && Buffer.from(frame.payload).toString().includes("end-of-input")) {
      socket.send(json(channels.exit, { exitCode: 0, signal: null }));
      socket.close(1000);
    }
  });
};

describe("exec", () => {
  test("10 MiB go through and come back unchanged, then the exit status", async () => {
    agent.onExec = cat;
    const socket = connect(command(["cat"]));
    const result = collect(socket);
    await once(socket, "open");
    const content = randomBytes(10 * 2 ** 20);
    for (let at = 0; at < content.length; at += maximumFrameBytes) {
      const piece = content.subarray(at, at + maximumFrameBytes);
      await new Promise((resolve) => {
        socket.send(encodeFrame(channels.stdin, piece), resolve);
      });
    }
    socket.send(json(channels.control, { type: "end-of-input" }));
    const { output, exit, code } = await result;
    const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
    expect([output.length, hash(output)]).toEqual([content.length, hash(content)]);
    expect([exit, code]).toEqual([{ exitCode: 0, signal: null }, 1000]);
  });

  test("a reader that stops stops the agent's writer, and memory stays bounded", async () => {
    let sent = 0;
    const total = 64 * 2 ** 20;
    agent.onExec = (socket) => {
      const piece = Buffer.alloc(maximumFrameBytes);
      const pump = (): void => {
        while (sent < total && socket.bufferedAmount < 4 * maximumFrameBytes) {
          sent += piece.length;
          socket.send(encodeFrame(channels.stdout, piece), pump);
        }
        if (sent >= total && socket.bufferedAmount === 0 && socket.readyState === WebSocket.OPEN) {
          socket.send(json(channels.exit, { exitCode: 0, signal: null }));
          socket.close(1000);
        }
      };
      pump();
    };
    const socket = connect(command(["yes"]));
    const result = collect(socket);
    await once(socket, "open");
    socket.pause();
    // The writer comes to a stop far below the total: what kernels and both sockets hold, and no more.
    let before = -1;
    await expect
      .poll(
        () => {
          const still = sent > 0 && sent === before;
          before = sent;
          return still;
        },
        { interval: 300, timeout: 15_000 },
      )
      .toBe(true);
    expect(sent).toBeLessThan(total / 2);
    socket.resume();
    expect((await result).output.length).toBe(total);
  });

  test("the first frame may say the command, and input may follow in the same packet", async () => {
    let asked: unknown;
    agent.onExec = (socket, exec) => {
      asked = exec;
      cat(socket);
    };
    const socket = connect("");
    const result = collect(socket);
    await once(socket, "open");
    socket.send(json(channels.control, { command: ["cat"], tty: true, rows: 24, columns: 80, env: { A: "1" } }));
    socket.send(encodeFrame(channels.stdin, Buffer.from("hello")));
    socket.send(json(channels.control, { type: "end-of-input" }));
    const { output, exit } = await result;
    expect([output.toString(), exit?.exitCode]).toEqual(["hello", 0]);
    expect(asked).toMatchObject({ command: ["cat"], tty: true, rows: 24, columns: 80, env: { A: "1" } });
  });

  test("a browser's token comes as a sub-protocol", async () => {
    agent.onExec = cat;
    const socket = connect(command(["cat"]), { protocols: ["bulkhead.stream.v1", `bulkhead.bearer.${adminToken}`] });
    const result = collect(socket);
    await once(socket, "open");
    expect(socket.protocol).toBe("bulkhead.stream.v1");
    socket.send(json(channels.control, { type: "end-of-input" }));
    expect((await result).exit?.exitCode).toBe(0);
  });

  test("a client that goes ends the agent's stream", async () => {
    const ended = Promise.withResolvers<void>();
    const opened = Promise.withResolvers<void>();
    agent.onExec = (socket) => {
      opened.resolve();
      socket.once("close", () => ended.resolve());
    };
    const socket = connect(command(["sleep"]));
    await opened.promise;
    expect(fleet.scheduler.broker.size).toBe(1);
    socket.terminate();
    await ended.promise;
  });

  test("an agent that goes without an exit is told as one", async () => {
    agent.onExec = (socket) => socket.terminate();
    const { exit, code } = await collect(connect(command(["sleep"])));
    expect([exit?.error?.code, code]).toEqual(["HOST_UNREACHABLE", 1011]);
  });

  test("what is not a frame that clients send ends the stream", async () => {
    for (const wrong of [encodeFrame(channels.stdout, Buffer.from("x")), json(channels.control, { type: "fly" })]) {
      const gone = Promise.withResolvers<void>();
      agent.onExec = (socket) => socket.once("close", () => gone.resolve());
      const socket = connect(command(["sleep"]));
      const result = collect(socket);
      await once(socket, "open");
      socket.send(wrong);
      expect((await result).exit?.error?.code).toBe("REQUEST_INVALID");
      await gone.promise;
    }
  });

  test.each([
    ["?command=cat", "REQUEST_INVALID"],
    ["?command=[]", "REQUEST_INVALID"],
    ["?tty=true", "REQUEST_INVALID"],
    ["?rows=0&command=[%22sh%22]", "REQUEST_INVALID"],
    ["?surprise=1", "REQUEST_INVALID"],
  ])("%s is refused before the upgrade", async (query, code) => {
    const socket = connect(query);
    const [, answer] = (await once(socket, "unexpected-response")) as [unknown, IncomingMessage];
    let text = "";
    for await (const chunk of answer) text += String(chunk);
    expect(answer.headers["content-type"]).toContain("application/problem+json");
    expect((JSON.parse(text) as Problem).code).toBe(code);
  });

  test("without a token, without an upgrade, and for an instance that does not run", async () => {
    const socket = connect(command(["sh"]), { token: "wrong" });
    const [, answer] = (await once(socket, "unexpected-response")) as [unknown, IncomingMessage];
    expect(answer.statusCode).toBe(401);
    answer.resume();
    expect((await fleet.call("GET", `/v1/instances/shell-0/exec${command(["sh"])}`)).body.code).toBe("REQUEST_INVALID");
    expect((await fleet.call("GET", "/v1/instances/none-0/exec")).status).toBe(400);
  });

  test("more streams than allowed are told so", async () => {
    agent.onExec = () => undefined;
    const open = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const socket = connect(command(["sleep"]));
        await once(socket, "open");
        return socket;
      }),
    );
    const one = connect(command(["sleep"]));
    const [, answer] = (await once(one, "unexpected-response")) as [unknown, IncomingMessage];
    expect(answer.statusCode).toBe(503);
    answer.resume();
    for (const socket of open) socket.terminate();
  });
});

describe("an agent's end", () => {
  const attempt = async (streamId: string, token: string): Promise<number> => {
    const url = `${fleet.url.replace("http", "ws")}/internal/streams/${streamId}`;
    const socket = new WebSocket(url, { headers: { authorization: `Bearer ${token}` } });
    socket.on("error", () => undefined);
    return new Promise((resolve) => {
      socket.once("open", () => {
        socket.terminate();
        resolve(101);
      });
      socket.once("unexpected-response", (_request, answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      });
    });
  };

  test("needs the stream's own token, and that works once", async () => {
    const expected = fleet.scheduler.broker.expect();
    expect(await attempt(expected.streamId, "wrong")).toBe(401);
    expect(await attempt("00000000-0000-4000-8000-000000000000", expected.token)).toBe(401);
    expect(await attempt(expected.streamId, expected.token)).toBe(101);
    expect(await attempt(expected.streamId, expected.token)).toBe(401);
    expected.abandon();
  });
});
