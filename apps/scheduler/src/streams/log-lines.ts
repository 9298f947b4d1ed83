import { type Channel, channels } from "@bulkhead/contracts";

/** One record of an instance's log as the agent sends it: a line, or a piece of a long one. */
export interface LogRecord {
  readonly at: string;
  readonly stream: "stdout" | "stderr";
  /** the line goes on in the stream's next record */
  readonly partial: boolean;
  readonly bytes: Uint8Array;
}

const space = 0x20;

/** Parses `<RFC 3339> <F|P> <bytes>`; undefined when it is not that. */
export const parseLogRecord = (channel: Channel, payload: Uint8Array): LogRecord | undefined => {
  const first = payload.indexOf(space);
  const flag = payload[first + 1];
  // A fraction of a second has at most nine digits, so the time is short.
  if (first < 20 || first > 40 || payload[first + 2] !== space) return undefined;
  if (flag !== 0x46 && flag !== 0x50) return undefined;
  if (channel !== channels.stdout && channel !== channels.stderr) return undefined;
  return {
    at: Buffer.from(payload.subarray(0, first)).toString("latin1"),
    stream: channel === channels.stdout ? "stdout" : "stderr",
    partial: flag === 0x50,
    bytes: payload.subarray(first + 3),
  };
};

/** Turns records into what the client reads. */
export type LogRenderer = (record: LogRecord) => Uint8Array;

const newline = Buffer.from("\n");

/** The bytes as the program wrote them; with `timestamps` each line begins with its time. */
export const textRenderer = (timestamps: boolean): LogRenderer => {
  const inLine = { stdout: false, stderr: false };
  return ({ at, stream, partial, bytes }) => {
    const starts = !inLine[stream];
    inLine[stream] = partial;
    return Buffer.concat([
      ...(timestamps && starts ? [Buffer.from(`${at} `)] : []),
      bytes,
      ...(partial ? [] : [newline]),
    ]);
  };
};

/** One JSON object per record: `at`, `stream`, `text`, and `partial` when the line goes on. */
export const ndjsonRenderer = (): LogRenderer => {
  // A character may be cut where a long line is.
  const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  return ({ at, stream, partial, bytes }) => {
    const text = decoders[stream].decode(bytes, { stream: partial });
    return Buffer.from(`${JSON.stringify({ at, stream, text, ...(partial ? { partial } : {}) })}\n`);
  };
};
