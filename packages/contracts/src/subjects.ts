import type { Static, TSchema } from "typebox";
import {
  Accepted,
  DesiredChanged,
  DesiredDocument,
  FetchDesired,
  Heartbeat,
  LeaseGrant,
  OpenExec,
  OpenLogs,
  SignalInstance,
  UsageBatch,
} from "./agent.ts";
import { ReportAck, ReportBatch } from "./event.ts";
import { ApplyShares, RemoveShare, SharesApplied } from "./share.ts";
import { RemoveSnapshot, TakenSnapshot, TakeSnapshot, VerifySnapshot } from "./snapshot.ts";
import { InstanceView, ViewInstance } from "./view.ts";

/** Who publishes: an agent only ever on its own host's and kind's subjects. */
export type Publisher = "agent" | "scheduler";

export interface MessageSubject<Body extends TSchema = TSchema> {
  readonly kind: "message";
  readonly pattern: string;
  readonly publisher: Publisher;
  readonly body: Body;
  /** stream that buffers it, if any; nothing may rely on it keeping a message */
  readonly stream?: StreamName;
  readonly meaning: string;
}

export interface RequestSubject<Body extends TSchema = TSchema, Reply extends TSchema = TSchema> {
  readonly kind: "request";
  readonly pattern: string;
  readonly publisher: Publisher;
  readonly body: Body;
  readonly reply: Reply;
  /** how long the caller waits, in milliseconds */
  readonly timeoutMs: number;
  readonly meaning: string;
}

const message = <Body extends TSchema>(subject: Omit<MessageSubject<Body>, "kind">): MessageSubject<Body> => ({
  kind: "message",
  ...subject,
});
const request = <Body extends TSchema, Reply extends TSchema>(
  subject: Omit<RequestSubject<Body, Reply>, "kind">,
): RequestSubject<Body, Reply> => ({ kind: "request", ...subject });

/** JetStream streams; R1 or R3 by the cluster, limits retention, a buffer only. */
export const streams = {
  reports: {
    name: "BULKHEAD_REPORTS",
    subjects: ["bulkhead.v1.*.*.report"],
    maxAgeMs: 600_000,
    maxBytes: 64 * 1024 * 1024,
  },
} as const;
export type StreamName = keyof typeof streams;

/**
 * The one subjects catalogue. Parameters are `{hostId}` and `{isolation}`; a host's credential allows exactly the
 * subjects with its own two values. docs/subjects.md is made from it.
 */
export const subjects = {
  heartbeat: message({
    pattern: "bulkhead.v1.{hostId}.{isolation}.heartbeat",
    publisher: "agent",
    body: Heartbeat,
    meaning: "the agent lives; what it has and how far it got",
  }),
  lease: message({
    pattern: "bulkhead.v1.{hostId}.{isolation}.lease",
    publisher: "scheduler",
    body: LeaseGrant,
    meaning: "the leader's answer to a heartbeat",
  }),
  desiredChanged: message({
    pattern: "bulkhead.v1.{hostId}.{isolation}.desired.changed",
    publisher: "scheduler",
    body: DesiredChanged,
    meaning: "the desired-state document has a new version",
  }),
  fetchDesired: request({
    pattern: "bulkhead.v1.{hostId}.{isolation}.desired.fetch",
    publisher: "agent",
    body: FetchDesired,
    reply: DesiredDocument,
    timeoutMs: 5_000,
    meaning: "the document, whole or what changed since the agent's version, in pages",
  }),
  report: message({
    pattern: "bulkhead.v1.{hostId}.{isolation}.report",
    publisher: "agent",
    body: ReportBatch,
    stream: "reports",
    meaning: "what happened to instances; repeated until acknowledged",
  }),
  reportAck: message({
    pattern: "bulkhead.v1.{hostId}.{isolation}.report.ack",
    publisher: "scheduler",
    body: ReportAck,
    meaning: "reports up to here are in Postgres",
  }),
  usage: message({
    pattern: "bulkhead.v1.{hostId}.{isolation}.usage",
    publisher: "agent",
    body: UsageBatch,
    meaning: "usage samples of all instances and the host",
  }),
  openExec: request({
    pattern: "bulkhead.v1.{hostId}.{isolation}.exec",
    publisher: "scheduler",
    body: OpenExec,
    reply: Accepted,
    timeoutMs: 10_000,
    meaning: "run a command in an instance and open its byte stream",
  }),
  openLogs: request({
    pattern: "bulkhead.v1.{hostId}.{isolation}.logs",
    publisher: "scheduler",
    body: OpenLogs,
    reply: Accepted,
    timeoutMs: 10_000,
    meaning: "open a byte stream of an instance's log",
  }),
  signal: request({
    pattern: "bulkhead.v1.{hostId}.{isolation}.signal",
    publisher: "scheduler",
    body: SignalInstance,
    reply: Accepted,
    timeoutMs: 10_000,
    meaning: "send a signal to an instance's first process",
  }),
  view: request({
    pattern: "bulkhead.v1.{hostId}.{isolation}.view",
    publisher: "scheduler",
    body: ViewInstance,
    reply: InstanceView,
    timeoutMs: 10_000,
    meaning: "read from the kernel what an instance can see",
  }),
  applyShares: request({
    pattern: "bulkhead.v1.{hostId}.{isolation}.shares.apply",
    publisher: "scheduler",
    body: ApplyShares,
    reply: SharesApplied,
    timeoutMs: 10_000,
    meaning: "attach and detach shares as the instance's newest document wants",
  }),
  removeShare: request({
    pattern: "bulkhead.v1.{hostId}.{isolation}.shares.remove",
    publisher: "scheduler",
    body: RemoveShare,
    reply: Accepted,
    timeoutMs: 10_000,
    meaning: "remove a share that nobody uses, with its data",
  }),
  takeSnapshot: request({
    pattern: "bulkhead.v1.{hostId}.{isolation}.snapshots.take",
    publisher: "scheduler",
    body: TakeSnapshot,
    reply: TakenSnapshot,
    timeoutMs: 10_000,
    meaning:
      "take a running instance to files of the host, or say that this is under way; asked again until it is done",
  }),
  verifySnapshot: request({
    pattern: "bulkhead.v1.{hostId}.{isolation}.snapshots.verify",
    publisher: "scheduler",
    body: VerifySnapshot,
    reply: Accepted,
    timeoutMs: 10_000,
    meaning: "read all files of a snapshot, or say how far that got; refused when one is not what was written",
  }),
  removeSnapshot: request({
    pattern: "bulkhead.v1.{hostId}.{isolation}.snapshots.remove",
    publisher: "scheduler",
    body: RemoveSnapshot,
    reply: Accepted,
    timeoutMs: 10_000,
    meaning: "remove the files of a snapshot that no instance uses",
  }),
} as const;

export type SubjectKey = keyof typeof subjects;
export type BodyOf<Subject> = Subject extends { readonly body: infer Body extends TSchema } ? Static<Body> : never;
export type ReplyOf<Subject> = Subject extends { readonly reply: infer Reply extends TSchema } ? Static<Reply> : never;

export interface SubjectParameters {
  readonly hostId: string;
  readonly isolation: string;
}

/** Concrete subject; `*` is allowed for subscribers. Values are checked because NATS does not check them. */
export const subjectFor = (pattern: string, parameters: SubjectParameters): string => {
  for (const value of [parameters.hostId, parameters.isolation]) {
    if (!/^(\*|[A-Za-z0-9_-]{1,64})$/.test(value)) throw new RangeError(`not a subject token: ${value}`);
  }
  return pattern.replace("{hostId}", parameters.hostId).replace("{isolation}", parameters.isolation);
};

/** The parameters of a concrete subject, or undefined when it does not fit the pattern. */
export const parseSubject = (pattern: string, subject: string): SubjectParameters | undefined => {
  const wanted = pattern.split(".");
  const got = subject.split(".");
  if (wanted.length !== got.length) return undefined;
  const found: Record<string, string> = {};
  for (const [index, token] of wanted.entries()) {
    const value = got[index] ?? "";
    if (token.startsWith("{")) found[token.slice(1, -1)] = value;
    else if (token !== value) return undefined;
  }
  const { hostId, isolation } = found;
  return hostId === undefined || isolation === undefined ? undefined : { hostId, isolation };
};
