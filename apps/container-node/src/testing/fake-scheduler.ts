import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { once } from "node:events";
import { randomBytes } from "node:crypto";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { connectBus, mintHostUser, readSigner, type Bus } from "@bulkhead/bus";
import {
  documentDigest,
  JoinHost,
  subjects,
  uuidV7,
  type Assignment,
  type ClusterId,
  type Digest,
  type Heartbeat,
  type HostCredential,
  type HostId,
  type InstanceReport,
  type Tombstone,
} from "@bulkhead/contracts";
import type { BlobStore } from "@bulkhead/images";
import type { TestNats } from "@bulkhead/testkit/servers";
import { Value } from "typebox/value";

const isolation = "container";

/** The scheduler as one agent sees it: joining, blobs, and one host's document on a real bus. */
export class FakeScheduler implements AsyncDisposable {
  readonly joinToken = randomBytes(24).toString("hex");
  readonly reports: InstanceReport[] = [];
  readonly heartbeats: Heartbeat[] = [];
  readonly joins: JoinHost[] = [];
  /** tokens that blobs are given for; clearing it is what a restored database does */
  readonly httpTokens = new Set<string>();
  clusterId = uuidV7(Date.now(), randomBytes(10)) as ClusterId;
  version = 0;
  assignments: readonly Assignment[] = [];
  tombstones: readonly Tombstone[] = [];
  readonly #server: Server;
  readonly #nats: TestNats;
  readonly #blobs: BlobStore;
  #bus!: Bus;

  private constructor(nats: TestNats, blobs: BlobStore) {
    this.#nats = nats;
    this.#blobs = blobs;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
  }

  static async start(nats: TestNats, blobs: BlobStore): Promise<FakeScheduler> {
    const scheduler = new FakeScheduler(nats, blobs);
    scheduler.#server.listen(0, "127.0.0.1");
    await once(scheduler.#server, "listening");
    const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
    scheduler.#bus = await connectBus({ ...(await nats.service("scheduler")), log: quiet });
    scheduler.#listen();
    return scheduler;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The host's new wish, told at once. */
  want(hostId: HostId, assignments: readonly Assignment[], tombstones: readonly Tombstone[] = []): void {
    this.assignments = assignments;
    this.tombstones = tombstones;
    this.version += 1;
    this.#bus.publish(subjects.desiredChanged, { hostId, isolation }, { position: this.#position() });
  }

  #position() {
    return { clusterId: this.clusterId, era: 1, version: this.version };
  }

  #listen(): void {
    const anyHost = { hostId: "*", isolation: "*" };
    this.#bus.respond(subjects.fetchDesired, anyHost, async () => ({
      position: this.#position(),
      since: 0,
      digest: documentDigest(this.assignments, this.tombstones),
      assignments: [...this.assignments],
      tombstones: [...this.tombstones],
    }));
    this.#bus.subscribe(subjects.report, anyHost, ({ reports }, { parameters }) => {
      const seen = new Set(this.reports.map(({ journal, seq }) => `${journal} ${seq}`));
      this.reports.push(...reports.filter(({ journal, seq }) => !seen.has(`${journal} ${seq}`)));
      const last = reports.at(-1);
      if (last !== undefined) {
        this.#bus.publish(subjects.reportAck, parameters, { journal: last.journal, upToSeq: last.seq });
      }
    });
    this.#bus.subscribe(subjects.heartbeat, anyHost, (heartbeat, { parameters }) => {
      this.heartbeats.push(heartbeat);
      this.#bus.publish(subjects.lease, parameters, {
        term: 1,
        sentAtBoottimeNs: heartbeat.sentAtBoottimeNs,
        granted: true,
        refetch: heartbeat.digest !== documentDigest(this.assignments, this.tombstones),
      });
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const token = request.headers.authorization?.replace("Bearer ", "") ?? "";
    const refuse = (status: number, code: string): void => {
      response.writeHead(status, { "content-type": "application/problem+json" });
      response.end(JSON.stringify({ type: "about:blank", title: code, status, code, detail: `test: ${code}` }));
    };
    if (request.method === "POST" && request.url === "/internal/hosts/join") {
      if (token !== this.joinToken) return refuse(401, "UNAUTHENTICATED");
      response.writeHead(201, { "content-type": "application/json" });
      response.end(JSON.stringify(await this.#join(JSON.parse(await text(request)))));
      return;
    }
    if (!this.httpTokens.has(token)) return refuse(401, "UNAUTHENTICATED");
    const digest = /^\/v2\/default\/(?:blobs|manifests)\/(sha256:[0-9a-f]{64})$/.exec(request.url ?? "")?.[1];
    if (digest === undefined || !(await this.#blobs.has(digest as Digest))) return refuse(404, "NOT_FOUND");
    const { stream, sizeBytes } = await this.#blobs.open(digest as Digest);
    response.writeHead(200, { "content-length": sizeBytes });
    stream.pipe(response);
  }

  async #join(body: unknown): Promise<HostCredential> {
    if (!Value.Check(JoinHost, body)) throw new Error("the host sent something that is no JoinHost");
    this.joins.push(body);
    const httpToken = randomBytes(24).toString("hex");
    this.httpTokens.add(httpToken);
    const { hostId, publicKey } = body;
    const signer = await readSigner(this.#nats.keys.scheduler.hostSignerFile);
    const natsJwt = mintHostUser({ signer, hostId, isolation, publicKey });
    return { clusterId: this.clusterId, natsUrl: this.#nats.url, natsJwt, httpToken };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await this.#bus[Symbol.asyncDispose]();
  }
}
