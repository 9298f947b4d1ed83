import { subjectFor, subjects, type Publisher } from "@bulkhead/contracts";

/** What a credential may do; NATS checks it at the server. */
export interface RolePermissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  /** replies to a request that reached it, besides `publish` */
  readonly mayReply: boolean;
}

/** Values the server fills in from a user's tags `host:…` and `kind:…`. */
const ownHost = "{{tag(host)}}";
const ownKind = "{{tag(kind)}}";

/** Prefix of the reply inboxes of one connection; a shared `_INBOX` would let every client read all replies. */
export const inboxPrefix = (owner: string): string => `_INBOX_${owner}`;

/** Inbox prefix of a host's agent; both values are tokens of their own because servers fill in whole tokens only. */
export const hostInboxPrefix = (hostId: string, isolation: string): string =>
  `${inboxPrefix("host")}.${hostId}.${isolation}`;

const patternsBy = (publisher: Publisher): string[] =>
  Object.values(subjects)
    .filter((subject) => subject.publisher === publisher)
    .map((subject) => subject.pattern);

const own = (pattern: string): string => pattern.replace("{hostId}", ownHost).replace("{isolation}", ownKind);
const all = (pattern: string): string => subjectFor(pattern, { hostId: "*", isolation: "*" });

/** Everything of every host: the catalogue's subjects share their first two tokens. */
const everything = `${subjects.heartbeat.pattern.split(".").slice(0, 2).join(".")}.>`;

/**
 * The policies behind the three scoped signing keys. Allow lists only: deny lists with wildcards have been bypassed in
 * old servers. Everything is derived from the subjects catalogue.
 */
export const roles = {
  host: {
    publish: patternsBy("agent").map(own),
    subscribe: [...patternsBy("scheduler").map(own), `${hostInboxPrefix(ownHost, ownKind)}.>`],
    mayReply: true,
  },
  scheduler: {
    publish: [everything, "$JS.API.>", "$JS.ACK.>", `${inboxPrefix("scheduler")}.>`],
    subscribe: [everything, `${inboxPrefix("scheduler")}.>`],
    mayReply: true,
  },
  metrics: {
    // An empty list would allow everything; its own inbox harms nobody.
    publish: [`${inboxPrefix("metrics")}.>`],
    subscribe: [all(subjects.usage.pattern), `${inboxPrefix("metrics")}.>`],
    mayReply: false,
  },
} as const satisfies Record<string, RolePermissions>;

export type Role = keyof typeof roles;

/** Longest deadline of the catalogue, in milliseconds. */
const deadlineMs = Math.max(
  ...Object.values(subjects).map((subject) => (subject.kind === "request" ? subject.timeoutMs : 0)),
);

/** How long after a request its reply may be published, in nanoseconds; the server drops what comes later. */
const replyTtlNs = deadlineMs * 1_000_000;

/** A role as the template of a scoped signing key in an account's JWT. */
export const scopeTemplate = (role: Role, publicKey: string): Record<string, unknown> => {
  const { publish, subscribe, mayReply } = roles[role];
  return {
    kind: "user_scope",
    key: publicKey,
    role,
    template: {
      pub: { allow: publish },
      sub: { allow: subscribe },
      ...(mayReply ? { resp: { max: 1, ttl: replyTtlNs } } : {}),
      subs: role === "host" ? 64 : -1,
      data: -1,
      payload: -1,
      allowed_connection_types: ["STANDARD"],
    },
  };
};
