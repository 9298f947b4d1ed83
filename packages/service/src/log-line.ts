interface LogRecord {
  readonly level?: string;
  readonly time?: string;
  readonly msg?: string;
  readonly err?: { readonly message?: string; readonly stack?: string };
  readonly [field: string]: unknown;
}

// SGR colours: grey for noise, yellow and red for what needs a look.
const colours: Readonly<Record<string, string>> = {
  trace: "90",
  debug: "90",
  info: "32",
  warn: "33",
  error: "31",
  fatal: "41",
};

const hidden = new Set(["level", "time", "msg", "pid", "err", "spanId"]);

const paint = (code: string, text: string): string => `\u001b[${code}m${text}\u001b[0m`;

/** Control characters must not reach the terminal: logs carry what images and guests wrote. Line ends and tabs stay. */
// oxlint-disable-next-line no-control-regex
const plain = (text: string): string => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "\ufffd");

const field = (value: unknown): string => {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "undefined");
  // oxlint-disable-next-line no-control-regex
  return /[\s"=\u0000-\u001f\u007f-\u009f]/.test(text) ? JSON.stringify(text) : text;
};

/** One JSON log line as a line for people; text that is not a log line is passed on. */
export const prettyLine = (line: string): string => {
  let record: LogRecord;
  try {
    record = JSON.parse(line) as LogRecord;
  } catch {
    return line;
  }
  const level = record.level ?? "info";
  const fields = Object.entries(record)
    .filter(([key]) => !hidden.has(key))
    .map(([key, value]) => paint("90", `${key}=`) + field(value));
  const clock = (record.time ?? "").slice(11, 23);
  const head = `${clock} ${paint(colours[level] ?? "0", level.toUpperCase().padEnd(5))} ${plain(record.msg ?? "")}`;
  const stack = record.err === undefined ? "" : `\n    ${plain(record.err.stack ?? record.err.message ?? "")}`;
  return `${[head, ...fields].join(" ")}${stack}\n`;
};
