import { once } from "node:events";
import { type IncomingMessage, get } from "node:http";
import { type Operation, channels, encodeFrame } from "@bulkhead/contracts";
import { WebSocket } from "ws";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { FakeAgent } from "./testing/fake-agent.ts";
import { TestFleet, adminToken, workload } from "./testing/test-fleet.ts";

let fleet: TestFleet;
let agent: FakeAgent;
beforeAll(async () => {
  fleet = await TestFleet.start();
  agent = await fleet.addHost("one");
  await fleet.addImage("app");
  const { body } = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload("shell") });
  await fleet.call("GET", `/v1/operations/${body.id}/wait`);
});
afterAll(() => fleet[Symbol.asyncDispose]());
beforeEach(async () => {
  await vi.waitUntil(() => fleet.scheduler.broker.size === 0, { timeout: 15_000 });
});

describe("logs", () => {
  const record = (text: string, options: { stream?: "stdout" | "stderr"; partial?: boolean } = {}): Uint8Array =>
    encodeFrame(
      channels[options.stream ?? "stdout"],
      Buffer.from(`2026-11-23T10:00:00.123456789Z ${options.partial === true ? "P" : "F"} ${text}`),
    );

  const read = async (query: string, headers: Record<string, string> = {}): Promise<string> => {
    const answer = await fetch(`${fleet.url}/v1/instances/shell-0/logs${query}`, {
      headers: { authorization: `Bearer ${adminToken}`, ...headers },
    });
    expect(answer.status).toBe(200);
    return answer.text();
  };

  test("are text, with times, or JSON lines", async () => {
    agent.onLogs = (socket) => {
      socket.send(record("one"));
      socket.send(record("tw", { partial: true }));
      socket.send(record("o"));
      socket.send(record("oh no", { stream: "stderr" }));
      socket.send(encodeFrame(channels.exit, Buffer.from(JSON.stringify({ exitCode: null, signal: null }))));
      socket.close(1000);
    };
    expect(await read("")).toBe("one\ntwo\noh no\n");
    const at = "2026-11-23T10:00:00.123456789Z";
    expect(await read("?timestamps=true")).toBe(`${at} one\n${at} two\n${at} oh no\n`);
    const lines = (await read("", { accept: "application/x-ndjson" })).trim().split("\n");
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
      { at, stream: "stdout", text: "one" },
      { at, stream: "stdout", text: "tw", partial: true },
      { at, stream: "stdout", text: "o" },
      { at, stream: "stderr", text: "oh no" },
    ]);
  });

  test("pass on what is asked for", async () => {
    const asked: unknown[] = [];
    agent.onLogs = (socket, logs) => {
      asked.push(logs);
      socket.close(1000);
    };
    await read("?follow=true&tail=5&since=2026-11-23T10:00:00Z");
    expect(asked).toMatchObject([{ follow: true, tailLines: 5, since: "2026-11-23T10:00:00Z" }]);
  });

  test("a reader that goes ends the agent's stream, one that is slow stops it", async () => {
    const ended = Promise.withResolvers<void>();
    let sent = 0;
    agent.onLogs = (socket) => {
      const line = record("x".repeat(32 * 1024));
      const pump = (): void => {
        while (socket.bufferedAmount < 256 * 1024 && socket.readyState === WebSocket.OPEN && sent < 2 ** 28) {
          sent += line.length;
          socket.send(line, pump);
        }
      };
      socket.once("close", () => ended.resolve());
      pump();
    };
    const request = get(`${fleet.url}/v1/instances/shell-0/logs?follow=true`, {
      headers: { authorization: `Bearer ${adminToken}` },
    });
    const [answer] = (await once(request, "response")) as [IncomingMessage];
    expect(answer.statusCode).toBe(200);
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
    expect(sent).toBeLessThan(2 ** 27);
    request.destroy();
    await ended.promise;
  });

  test("an agent that goes fails the answer", async () => {
    agent.onLogs = (socket) => {
      socket.send(record("one"), () => socket.terminate());
    };
    await expect(read("")).rejects.toThrow(/terminated|closed|fetch failed/);
  });

  test("of a host whose agent does not answer are a problem", async () => {
    const idle = await fleet.addHost("silent");
    const { body } = await fleet.call<Operation>("POST", "/v1/workloads", {
      body: workload("mute", { constraints: { hostLabels: {} }, replicas: 1 }),
    });
    await fleet.call("GET", `/v1/operations/${body.id}/wait`);
    const [row] = await fleet.query<{ id: string }>("SELECT id FROM instance WHERE name = 'mute-0'");
    const [host] = [...agent.runs.keys()].includes(row?.id ?? "") ? [agent] : [idle];
    await host?.bus[Symbol.asyncDispose]();
    const answer = await fleet.call("GET", "/v1/instances/mute-0/logs");
    expect([answer.status, answer.body.code]).toEqual([503, "HOST_UNREACHABLE"]);
  });
});
