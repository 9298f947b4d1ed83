import { subjects, subjectFor } from "@bulkhead/contracts";
import { startNats, type TestNats } from "@bulkhead/testkit/servers";
import { connect, jwtAuthenticator, type NatsConnection } from "@nats-io/transport-node";
import { createAccount, fromSeed } from "@nats-io/nkeys";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { connectBus } from "./connect.ts";
import { hostInboxPrefix } from "./roles.ts";
import { hostA, hostB, memoryLog, reports } from "./testing/messages.ts";
import { makeUserKey, mintHostUser, mintUser, readSigner } from "./users.ts";

const ownA = { hostId: hostA, isolation: "container" };
const deadline = { timeout: 10_000, interval: 10 };

let nats: TestNats;
let host: NatsConnection;
beforeAll(async () => {
  nats = await startNats({ keys: true });
  host = await rawHost();
});
afterAll(async () => {
  await host.close();
  await nats[Symbol.asyncDispose]();
});

/** Host A's connection without our bus in between: what the server lets through is what is tested. */
const rawHost = async (): Promise<NatsConnection> => {
  const { url, jwt = "", seed = "", inboxPrefix = "" } = await nats.host(hostA);
  const authenticator = jwtAuthenticator(jwt, new TextEncoder().encode(seed));
  return watched(await connect({ servers: url, inboxPrefix, authenticator }));
};

/** What the server refused on a connection, as it came. */
const refusals = new WeakMap<NatsConnection, string[]>();

const watched = (connection: NatsConnection): NatsConnection => {
  const errors: string[] = [];
  refusals.set(connection, errors);
  const follow = async (): Promise<void> => {
    for await (const status of connection.status()) if (status.type === "error") errors.push(String(status.error));
  };
  void follow();
  return connection;
};

/** Does something and returns what the server refused of it: it says so before it answers the next PING. */
const refused = async (connection: NatsConnection, act: () => void): Promise<string | undefined> => {
  const errors = refusals.get(connection) ?? [];
  errors.length = 0;
  act();
  await connection.flush();
  await new Promise((resolve) => setImmediate(resolve));
  return errors[0];
};

const publishing = (connection: NatsConnection, subject: string): Promise<string | undefined> =>
  refused(connection, () => connection.publish(subject, "{}"));

const subscribing = (connection: NatsConnection, subject: string): Promise<string | undefined> =>
  refused(connection, () => connection.subscribe(subject, { callback: () => undefined }));

describe("a host's credential", () => {
  test.each(Object.entries(subjects).filter(([, { publisher }]) => publisher === "agent"))(
    "may publish its own %s",
    async (_key, { pattern }) => {
      expect(await publishing(host, subjectFor(pattern, ownA))).toBeUndefined();
    },
  );

  test.each(Object.entries(subjects).filter(([, { publisher }]) => publisher === "scheduler"))(
    "may subscribe to its own %s and not publish it",
    async (_key, { pattern }) => {
      expect(await subscribing(host, subjectFor(pattern, ownA))).toBeUndefined();
      expect(await publishing(host, subjectFor(pattern, ownA))).toMatch(/Permissions Violation/);
    },
  );

  test.each([
    `bulkhead.v1.${hostB}.container.heartbeat`,
    `bulkhead.v1.${hostA}.vm.heartbeat`,
    `bulkhead.v1.${hostA}.container.report.ack`,
    "$JS.API.INFO",
    "$JS.API.STREAM.DELETE.BULKHEAD_REPORTS",
    "$JS.ACK.BULKHEAD_REPORTS.folder.1.1.1.1.1",
    "$SYS.REQ.SERVER.PING",
    "_INBOX_scheduler.x",
    "anything",
  ])("may not publish %s", async (subject) => {
    expect(await publishing(host, subject)).toMatch(/Permissions Violation/);
  });

  test.each([
    ">",
    "bulkhead.v1.>",
    "bulkhead.v1.*.container.lease",
    `bulkhead.v1.${hostB}.container.lease`,
    `bulkhead.v1.${hostA}.*.lease`,
    `bulkhead.v1.${hostA}.container.heartbeat`,
    `${hostInboxPrefix(hostB, "container")}.>`,
    "_INBOX_host.>",
    "_INBOX_scheduler.>",
    "_INBOX.>",
    "$JS.>",
    "$SYS.>",
  ])("may not subscribe to %s", async (subject) => {
    expect(await subscribing(host, subject)).toMatch(/Permissions Violation/);
  });

  test("a reply to a request is let through once, to the asker alone", async () => {
    await using scheduler = await connectBus({ ...(await nats.service("scheduler")), log: memoryLog() });
    const replied = Promise.withResolvers<(string | undefined)[]>();
    host.subscribe(subjectFor(subjects.signal.pattern, ownA), {
      callback: (_error, message) => {
        const reply = message.reply ?? "";
        const answers = async (): Promise<(string | undefined)[]> => [
          await publishing(host, reply),
          await publishing(host, reply),
        ];
        void answers().then(replied.resolve);
      },
    });
    await host.flush();
    const instanceId = reports(1).reports[0]!.instanceId;
    expect(await scheduler.request(subjects.signal, ownA, { instanceId, signal: 1 })).toEqual({});
    const [first, second] = await replied.promise;
    expect(first).toBeUndefined();
    expect(second).toMatch(/Permissions Violation/);
  });
});

describe("the services' credentials", () => {
  test("a host that joins needs no change at the server, and scheduler and host understand each other", async () => {
    await using scheduler = await connectBus({ ...(await nats.service("scheduler")), log: memoryLog() });
    await using agent = await connectBus({ ...(await nats.host(hostB)), log: memoryLog() });
    const ownB = { hostId: hostB, isolation: "container" };
    const heard = Promise.withResolvers<boolean>();
    agent.subscribe(subjects.lease, ownB, (body) => heard.resolve(body.granted));
    agent.respond(subjects.signal, ownB, async () => ({}));
    await agent.ping();
    scheduler.publish(subjects.lease, ownB, { term: 1, sentAtBoottimeNs: "1", granted: true, refetch: false });
    expect(await heard.promise).toBe(true);
    const instanceId = reports(1).reports[0]!.instanceId;
    expect(await scheduler.request(subjects.signal, ownB, { instanceId, signal: 1 })).toEqual({});
  });

  test("metrics may listen to usage and do nothing else", async () => {
    const { url, jwt = "", seed = "" } = await nats.service("metrics");
    const authenticator = jwtAuthenticator(jwt, new TextEncoder().encode(seed));
    const metrics = watched(await connect({ servers: url, inboxPrefix: "_INBOX_metrics", authenticator }));
    try {
      expect(await subscribing(metrics, "bulkhead.v1.*.*.usage")).toBeUndefined();
      for (const subject of ["bulkhead.v1.*.*.report", "bulkhead.v1.>", "_INBOX_scheduler.>"]) {
        expect(await subscribing(metrics, subject)).toMatch(/Permissions Violation/);
      }
      for (const subject of [`bulkhead.v1.${hostA}.container.usage`, "$JS.API.INFO", "x"]) {
        expect(await publishing(metrics, subject)).toMatch(/Permissions Violation/);
      }
    } finally {
      await metrics.close();
    }
  });

  test("the seed alone is not enough, nor is none", async () => {
    await expect(connectBus({ url: nats.url, name: "scheduler", log: memoryLog() })).rejects.toMatchObject({
      code: "BUS_UNAVAILABLE",
      message: expect.stringContaining("refused the credential") as string,
    });
  });
});

describe("a credential is refused", () => {
  const attempt = async (jwt: string, seed: string): Promise<void> => {
    await using bus = await connectBus({ url: nats.url, name: "agent", jwt, seed, log: memoryLog(), connectMs: 0 });
    await bus.ping();
  };
  const refusal = { code: "BUS_UNAVAILABLE", message: expect.stringContaining("refused the credential") as string };
  const identity = { hostId: hostA, isolation: "container" } as const;

  test("when it has expired", async () => {
    const signer = await readSigner(nats.keys.scheduler.hostSignerFile);
    const { publicKey, seed } = makeUserKey();
    const expiresAt = Math.floor(Date.now() / 1000) - 5;
    await expect(attempt(mintHostUser({ signer, publicKey, ...identity, expiresAt }), seed)).rejects.toMatchObject(
      refusal,
    );
  });

  test("when a key signed it that the account does not know", async () => {
    const { account } = await readSigner(nats.keys.scheduler.hostSignerFile);
    const forged = { account, seed: new TextDecoder().decode(createAccount().getSeed()) };
    const { publicKey, seed } = makeUserKey();
    await expect(attempt(mintHostUser({ signer: forged, publicKey, ...identity }), seed)).rejects.toMatchObject(
      refusal,
    );
  });

  test("when a letter of it was changed", async () => {
    const { jwt = "", seed = "" } = await nats.host(hostA);
    const [header, claims = "", signature] = jwt.split(".");
    const text = Buffer.from(claims, "base64url").toString().replaceAll(hostA, hostB);
    const changed = [header, Buffer.from(text).toString("base64url"), signature].join(".");
    await expect(attempt(changed, seed)).rejects.toMatchObject(refusal);
  });

  test("when somebody else's key proves it", async () => {
    const { jwt = "" } = await nats.host(hostA);
    await expect(attempt(jwt, makeUserKey().seed)).rejects.toMatchObject(refusal);
  });

  test("when it claims permissions of its own under the scoped key", async () => {
    const signer = await readSigner(nats.keys.scheduler.hostSignerFile);
    const { publicKey, seed } = makeUserKey();
    const plain = mintUser({ signer, name: "x", publicKey, tags: [`host:${hostA}`, "kind:container"] });
    const claims = JSON.parse(Buffer.from(plain.split(".")[1] ?? "", "base64url").toString()) as {
      nats: Record<string, unknown>;
    };
    claims.nats["pub"] = { allow: [">"] };
    claims.nats["subs"] = -1;
    const pair = fromSeed(new TextEncoder().encode(signer.seed));
    const signed = `${plain.split(".")[0]}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}`;
    const signature = Buffer.from(pair.sign(new TextEncoder().encode(signed))).toString("base64url");
    await expect(attempt(`${signed}.${signature}`, seed)).rejects.toMatchObject(refusal);
  });

  test("in everything, when its tags are missing", async () => {
    const signer = await readSigner(nats.keys.scheduler.hostSignerFile);
    const { publicKey, seed } = makeUserKey();
    const jwt = mintUser({ signer, name: "x", publicKey });
    const authenticator = jwtAuthenticator(jwt, new TextEncoder().encode(seed));
    const nobody = watched(await connect({ servers: nats.url, authenticator }));
    for (const subject of ["bulkhead.v1.>", "_INBOX.>", ">", "x", "$JS.>"]) {
      expect(await subscribing(nobody, subject)).toMatch(/Permissions Violation/);
    }
    for (const subject of [`bulkhead.v1.${hostA}.container.report`, "x", "$JS.API.INFO"]) {
      expect(await publishing(nobody, subject)).toMatch(/Permissions Violation/);
    }
    await nobody.close();
  });
});

test("credentials still work after the server was killed and started again", async () => {
  await using scheduler = await connectBus({ ...(await nats.service("scheduler")), log: memoryLog() });
  await nats.restart();
  await vi.waitFor(() => expect(scheduler.counters.reconnects).toBe(1), deadline);
  await scheduler.ping();
});
