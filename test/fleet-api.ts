import { readFileSync } from "node:fs";
import { createClient, type Client } from "@bulkhead/client";
import type { Host, Instance, WorkloadSpec } from "@bulkhead/contracts";

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // What the API answered, to be matched by the test that asked.
  readonly body: unknown;
}

export interface ExecResult {
  readonly exitCode: number | null;
  readonly signal: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const collect = async (stream: AsyncIterable<Buffer | string>): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString("utf8");
};

/** The fleet's HTTP API as tests use it: plain requests, so that they see what is on the wire. */
export class FleetApi {
  readonly apiUrl: string;
  readonly #readToken: () => string;

  constructor(apiUrl: string, readToken: () => string) {
    this.apiUrl = apiUrl;
    this.#readToken = readToken;
  }

  get token(): string {
    return this.#readToken();
  }

  get client(): Client {
    return createClient({ url: this.apiUrl, token: this.token, project: "default" });
  }

  async http(
    method: string,
    path: string,
    {
      body,
      headers = {},
      raw,
    }: { body?: unknown; headers?: Record<string, string>; raw?: string | Uint8Array<ArrayBuffer> } = {},
  ): Promise<Answer> {
    const json = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const response = await fetch(`${this.apiUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(body === undefined ? {} : { "content-type": json }),
        ...headers,
      },
      ...(body === undefined && raw === undefined ? {} : { body: raw ?? JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json") ?? false;
    return {
      status: response.status,
      headers: response.headers,
      body: isJson && text !== "" ? JSON.parse(text) : text,
    };
  }

  async text(path: string): Promise<string> {
    return String((await this.http("GET", path)).body);
  }

  async importImage(name: string, archive: string): Promise<void> {
    const answer = await this.http("POST", `/v1/images?name=${name}`, {
      raw: new Uint8Array(readFileSync(archive)),
      headers: { "content-type": "application/x-tar" },
    });
    if (answer.status !== 201) throw new Error(`import answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  }

  async create(name: string, spec: WorkloadSpec): Promise<void> {
    const answer = await this.http("POST", "/v1/workloads", { body: { name, spec } });
    if (answer.status !== 202) throw new Error(`create answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  }

  /** Creates through outages: repeats with one Idempotency-Key until it is accepted. */
  async createStubbornly(name: string, spec: WorkloadSpec): Promise<void> {
    const deadline = performance.now() + 60_000;
    for (;;) {
      const answer = await this.http("POST", "/v1/workloads", {
        body: { name, spec },
        headers: { "idempotency-key": `create-${name}` },
      }).catch((error: unknown) => ({ status: 0, body: String(error) }));
      if (answer.status === 202) return;
      const again = answer.status === 0 || answer.status >= 500 || answer.status === 409;
      if (!again || performance.now() > deadline)
        throw new Error(`create answered ${answer.status}: ${JSON.stringify(answer.body)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async run(name: string, spec: WorkloadSpec): Promise<Instance> {
    await this.create(name, spec);
    return this.waitFor(`${name}-0`, "running");
  }

  async instance(name: string): Promise<Instance> {
    const answer = await this.http("GET", `/v1/instances/${name}`);
    if (answer.status !== 200) throw new Error(`instance ${name}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body as Instance;
  }

  async hosts(): Promise<Host[]> {
    return ((await this.http("GET", "/v1/hosts")).body as { items: Host[] }).items;
  }

  /** The API's own wait; repeats it over outages until the deadline. */
  async waitFor(name: string, state: string, timeoutMs = 30_000): Promise<Instance> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const answer = await this.http("GET", `/v1/instances/${name}/wait?for=${state}&timeoutMs=5000`).catch(
        (error: unknown) => ({ status: 0, body: String(error) }),
      );
      if (answer.status === 200) return answer.body as Instance;
      if (performance.now() > deadline) {
        const last = await this.http("GET", `/v1/instances/${name}`).catch(() => undefined);
        throw new Error(`${name} is not ${state}: ${JSON.stringify(answer.body)}; it is ${JSON.stringify(last?.body)}`);
      }
      if (answer.status !== 408) await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async act(name: string, verb: string, state: string): Promise<Instance> {
    const answer = await this.http("POST", `/v1/instances/${name}/${verb}`);
    if (answer.status !== 202) throw new Error(`${verb} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return this.waitFor(name, state);
  }

  /** Deletes a workload and waits until its operation has succeeded. */
  async remove(name: string): Promise<void> {
    const answer = await this.http("DELETE", `/v1/workloads/${name}?graceMs=0`);
    if (answer.status !== 202) throw new Error(`delete answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    const { id } = answer.body as { id: string };
    const ended = await this.http("GET", `/v1/operations/${id}/wait?timeoutMs=30000`);
    const operation = ended.body as { state?: string };
    if (ended.status !== 200 || operation.state !== "succeeded")
      throw new Error(`delete of ${name}: ${JSON.stringify(ended.body)}`);
  }

  async exec(name: string, command: readonly string[]): Promise<ExecResult> {
    const stream = await this.client.instances.exec(name, { command, tty: false });
    stream.stdin.end();
    const [stdout, stderr, ended] = await Promise.all([collect(stream.stdout), collect(stream.stderr), stream.ended]);
    return { exitCode: ended.exitCode, signal: ended.signal, stdout, stderr };
  }
}
