import { type ErrorCode, errors } from "../src/errors.ts";
import { metrics } from "../src/metrics.ts";
import { type MessageSubject, type RequestSubject, streams, subjects } from "../src/subjects.ts";

/** A page that is made from the sources, by its file name below `docs/`. */
export interface Page {
  readonly file: string;
  readonly text: string;
}

const generated = (source: string): string =>
  `<!-- Made from packages/contracts/src/${source} by \`npm run docs\`; do not edit. -->`;

/** Table cells may not hold what separates them. */
const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.map(cell).join(" | ")} |`).join("\n");

const errorSection = (code: ErrorCode): string => {
  const { status, retry, title, remedy } = errors[code];
  return `## ${code}

${title}. HTTP status ${status}; ${retry ? "the same request may succeed later" : "the same request will fail again"}.

${remedy}`;
};

const errorsPage = (): string => `# Errors

${generated("errors.ts")}

Every failure is a problem document (RFC 9457, \`application/problem+json\`). \`code\` is one of the names below and never
changes its meaning; \`detail\` says what happened, \`errors\` points into the request, \`hosts\` has each host's reason,
\`nearestFeasible\` the values that would do, \`retryAfterMs\` how long to wait, \`traceId\` where to look in logs and traces.

${(Object.keys(errors) as ErrorCode[]).map(errorSection).join("\n\n")}
`;

const metricsPage = (): string => `# Metrics

${generated("metrics.ts")}

Names and units as OpenTelemetry has them; Prometheus shows them with \`_\` for \`.\` and the unit as a suffix.

${table(
  ["name", "kind", "unit", "labels", "meaning"],
  Object.values(metrics).map(({ name, kind, unit, labels, meaning }) => [
    `\`${name}\``,
    kind,
    `\`${unit}\``,
    labels.map((label) => `\`${label}\``).join(", "),
    meaning,
  ]),
)}
`;

const delivery = (subject: MessageSubject | RequestSubject): string => {
  if (subject.kind === "request") return `request, answered within ${subject.timeoutMs} ms`;
  return subject.stream === undefined ? "message" : `message, buffered in ${streams[subject.stream].name}`;
};

const subjectsPage = (): string => `# Subjects

${generated("subjects.ts")}

NATS subjects between the scheduler and agents. \`{hostId}\` and \`{isolation}\` are the agent's own: its credential allows
exactly these. Anything may be lost, late, repeated or reordered, which costs time and nothing else.

${table(
  ["name", "subject", "published by", "delivery", "meaning"],
  Object.entries(subjects).map(([name, subject]) => [
    name,
    `\`${subject.pattern}\``,
    subject.publisher,
    delivery(subject),
    subject.meaning,
  ]),
)}

## Streams

Buffers only: nothing relies on one keeping a message.

${table(
  ["stream", "subjects", "keeps"],
  Object.values(streams).map(({ name, subjects: patterns, maxAgeMs, maxBytes }) => [
    `\`${name}\``,
    patterns.map((pattern) => `\`${pattern}\``).join(", "),
    `${maxAgeMs / 1000} s, at most ${maxBytes / 2 ** 20} MiB`,
  ]),
)}
`;

/** All pages made from the contracts. */
export const pages = (): Page[] => [
  { file: "errors.md", text: errorsPage() },
  { file: "metrics.md", text: metricsPage() },
  { file: "subjects.md", text: subjectsPage() },
];
