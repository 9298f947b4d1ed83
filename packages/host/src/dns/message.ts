/** One question of a DNS message (RFC 1035, section 4). */
export interface Question {
  readonly id: number;
  /** lower case, without the final dot */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** recursion desired, copied into the answer */
  readonly recursion: boolean;
  /** bytes after the header up to the end of the question */
  readonly question: Buffer;
}

export const recordTypes = { a: 1, ptr: 12, aaaa: 28, any: 255 } as const;
export const responseCodes = {
  ok: 0,
  formatError: 1,
  serverFailure: 2,
  noSuchName: 3,
  notImplemented: 4,
  refused: 5,
} as const;

const headerBytes = 12;
const internet = 1;
/** Short: an instance that moved must be found again soon. */
const ttlSeconds = 5;
/** What fits a UDP answer without EDNS (RFC 1035, section 4.2.1). */
const udpBytes = 512;

/** Reads a query with exactly one question; null for anything that deserves no answer, a code for what is refused. */
export const parseQuestion = (message: Buffer): Question | { readonly id: number; readonly code: number } | null => {
  if (message.length < headerBytes) return null;
  const id = message.readUInt16BE(0);
  const flags = message.readUInt16BE(2);
  // An answer must never be answered: two servers would talk for ever.
  if ((flags & 0x8000) !== 0) return null;
  if ((flags & 0x7800) !== 0) return { id, code: responseCodes.notImplemented };
  if (message.readUInt16BE(4) !== 1) return { id, code: responseCodes.formatError };
  const labels: string[] = [];
  let at = headerBytes;
  for (let length = 0; ;) {
    const size = message[at];
    // Compression has no place in the only question.
    if (size === undefined || size > 63) return { id, code: responseCodes.formatError };
    at += 1;
    if (size === 0) break;
    length += size + 1;
    if (length > 255 || at + size > message.length) return { id, code: responseCodes.formatError };
    labels.push(message.toString("latin1", at, at + size).toLowerCase());
    at += size;
  }
  if (at + 4 > message.length) return { id, code: responseCodes.formatError };
  return {
    id,
    name: labels.join("."),
    type: message.readUInt16BE(at),
    class: message.readUInt16BE(at + 2),
    recursion: (flags & 0x0100) !== 0,
    question: message.subarray(headerBytes, at + 4),
  };
};

const header = (options: {
  id: number;
  code: number;
  recursion: boolean;
  answers: number;
  truncated: boolean;
  questions: number;
}): Buffer => {
  const bytes = Buffer.alloc(headerBytes);
  bytes.writeUInt16BE(options.id, 0);
  // Response, authoritative; recursion is available to those who want it.
  const flags = 0x8400 | (options.truncated ? 0x0200 : 0) | (options.recursion ? 0x0180 : 0x0080) | options.code;
  bytes.writeUInt16BE(flags, 2);
  bytes.writeUInt16BE(options.questions, 4);
  bytes.writeUInt16BE(options.answers, 6);
  return bytes;
};

/** An answer that says only a code, to a message whose question could not be read. */
export const refuseMessage = (id: number, code: number): Buffer =>
  header({ id, code, recursion: false, answers: 0, truncated: false, questions: 0 });

/** The answer to a question: addresses of its type as bytes, none when the name has none of them. */
export const answerMessage = (
  question: Question,
  code: number,
  { addresses = [], datagram }: { readonly addresses?: readonly Buffer[]; readonly datagram: boolean },
): Buffer => {
  const records = addresses.map((address) => {
    const record = Buffer.alloc(12 + address.length);
    record.writeUInt16BE(0xc000 | headerBytes, 0);
    record.writeUInt16BE(question.type, 2);
    record.writeUInt16BE(internet, 4);
    record.writeUInt32BE(ttlSeconds, 6);
    record.writeUInt16BE(address.length, 10);
    address.copy(record, 12);
    return record;
  });
  const room = datagram ? udpBytes - headerBytes - question.question.length : Number.POSITIVE_INFINITY;
  const kept: Buffer[] = [];
  for (let used = 0, at = 0; at < records.length; at += 1) {
    const record = records[at];
    if (record === undefined || used + record.length > room) break;
    used += record.length;
    kept.push(record);
  }
  const truncated = kept.length < records.length;
  const first = header({
    id: question.id,
    code,
    recursion: question.recursion,
    answers: kept.length,
    truncated,
    questions: 1,
  });
  return Buffer.concat([first, question.question, ...kept]);
};
