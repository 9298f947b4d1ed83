import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { fleetError, type FleetError } from "@bulkhead/contracts/errors";
import { errorOfAnswer } from "./problem.ts";
import { addressOf, type ApiRequest, type PreparedRequest } from "./request.ts";

export interface ClientOptions {
  /** address of the API, such as `http://127.0.0.1:7480` */
  readonly url: string;
  readonly token: string;
  /** project of every request (default: the server's, `default`) */
  readonly project?: string;
  /** sees every request before it is sent */
  readonly onRequest?: (request: PreparedRequest) => void;
}

const causeOf = (error: unknown): string => {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return inner instanceof Error ? inner.message || ("code" in inner ? String(inner.code) : inner.name) : String(inner);
};

/** How long a service that has no time for a request is asked again, in milliseconds. */
const patienceMs = 30_000;
/** Between two times, where the service does not say, in milliseconds. */
const pauseMs = 1_000;

/** It was refused before anything of it was done, so it may be asked again, whatever it is. */
const isPutOff = ({ code }: FleetError): boolean => code === "OVERLOADED" || code === "RATE_LIMITED";

/** Sends requests to one API and turns every failure into a FleetError. */
export class Transport {
  readonly options: ClientOptions;

  constructor(options: ClientOptions) {
    this.options = options;
  }

  /** Adds address, token, project and an idempotency key. */
  prepare(request: ApiRequest): PreparedRequest {
    const { token, project, url } = this.options;
    return {
      method: request.method,
      url: addressOf(url, request),
      headers: {
        authorization: `Bearer ${token}`,
        ...(project === undefined ? {} : { "bulkhead-project": project }),
        ...(request.method === "POST" ? { "idempotency-key": randomUUID() } : {}),
        ...(request.json === undefined ? {} : { "content-type": "application/json" }),
        ...request.headers,
      },
      body:
        request.stream !== undefined
          ? { kind: "stream", name: request.streamName ?? "-", content: request.stream }
          : request.json !== undefined
            ? { kind: "json", text: JSON.stringify(request.json) }
            : { kind: "none" },
    };
  }

  /**
   * The answer of a request that succeeded, its body unread. A service that has no time is asked again for half a minute,
   * unless the body is a stream, of which nobody has the beginning any more. Throws the answer's problem as FleetError,
   * API_UNREACHABLE when there is no answer, and the signal's reason when it was aborted.
   */
  async send(request: ApiRequest): Promise<Response> {
    const prepared = this.prepare(request);
    this.options.onRequest?.(prepared);
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const answer = await this.#sendOnce(request, prepared);
      if (answer.ok) return answer;
      const failure = await errorOfAnswer(answer);
      const afterMs = failure.fields.retryAfterMs ?? pauseMs;
      const isLate = performance.now() + afterMs > deadline;
      if (!isPutOff(failure) || prepared.body.kind === "stream" || isLate) throw failure;
      const { signal } = request;
      await wait(afterMs, undefined, signal === undefined ? {} : { signal }).catch(() => signal?.throwIfAborted());
    }
  }

  async #sendOnce(request: ApiRequest, prepared: PreparedRequest): Promise<Response> {
    try {
      return await fetch(prepared.url, {
        method: prepared.method,
        headers: prepared.headers,
        ...(prepared.body.kind === "json" ? { body: prepared.body.text } : {}),
        ...(prepared.body.kind === "stream" ? { body: prepared.body.content, duplex: "half" as const } : {}),
        ...(request.signal === undefined ? {} : { signal: request.signal }),
      });
    } catch (error) {
      request.signal?.throwIfAborted();
      throw fleetError("API_UNREACHABLE", `${this.options.url} does not answer: ${causeOf(error)}.`, { cause: error });
    }
  }

  /** The JSON body of the answer. It is not validated: a newer API may add fields, and the API itself is trusted. */
  async json<Body>(request: ApiRequest): Promise<Body> {
    const answer = await this.send(request);
    const text = await answer.text();
    try {
      return JSON.parse(text) as Body;
    } catch (error) {
      throw fleetError("INTERNAL", `${this.options.url} answered without JSON. Is this address a Bulkhead API?`, {
        cause: error,
      });
    }
  }
}
