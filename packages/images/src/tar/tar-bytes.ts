/** One entry of a tar archive, as its header says it. */
export interface TarHeader {
  readonly name: string;
  /** POSIX type flag; default "0", a regular file */
  readonly type?: "0" | "1" | "2" | "3" | "4" | "5" | "6";
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly sizeBytes?: number;
  /** default 0, so that equal content gives equal bytes */
  readonly modifiedSeconds?: number;
  readonly linkname?: string;
}

const blockBytes = 512;

/** Zeros up to the next block. */
export const tarPadding = (sizeBytes: number): Buffer =>
  Buffer.alloc((blockBytes - (sizeBytes % blockBytes)) % blockBytes);

/** Two empty blocks end an archive (POSIX.1-2017, pax, "ustar Interchange Format"). */
export const tarEnd: Buffer = Buffer.alloc(2 * blockBytes);

const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, "0");

const block = (header: TarHeader, type: string): Buffer => {
  const bytes = Buffer.alloc(blockBytes);
  bytes.write(header.name, 0, 100);
  bytes.write(octal(header.mode ?? 0o644, 7), 100);
  bytes.write(octal(header.uid ?? 0, 7), 108);
  bytes.write(octal(header.gid ?? 0, 7), 116);
  bytes.write(octal(header.sizeBytes ?? 0, 11), 124);
  bytes.write(octal(header.modifiedSeconds ?? 0, 11), 136);
  bytes.write("        ", 148);
  bytes.write(type, 156);
  bytes.write(header.linkname ?? "", 157, 100);
  bytes.write("ustar", 257);
  bytes.write("00", 263);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${octal(sum, 6)}\0 `, 148);
  return bytes;
};

/** "LENGTH key=value\n", where LENGTH counts its own digits too. */
const record = (key: string, value: string | number): string => {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  let length = bytes + String(bytes).length;
  if (bytes + String(length).length > length) length += 1;
  return `${length}${rest}`;
};

/** What ustar's fields cannot hold: long names, sizes from 8 GiB, ids from 2 Mi. */
const paxRecords = (header: TarHeader): string => {
  const records: string[] = [];
  if (Buffer.byteLength(header.name) > 100) records.push(record("path", header.name));
  if (Buffer.byteLength(header.linkname ?? "") > 100) records.push(record("linkpath", header.linkname ?? ""));
  if ((header.sizeBytes ?? 0) >= 8 ** 11) records.push(record("size", header.sizeBytes ?? 0));
  if ((header.uid ?? 0) >= 8 ** 7) records.push(record("uid", header.uid ?? 0));
  if ((header.gid ?? 0) >= 8 ** 7) records.push(record("gid", header.gid ?? 0));
  return records.join("");
};

/** The header blocks of an entry; its content and `tarPadding` follow. Names are written as they are, checked nowhere. */
export const tarHeader = (header: TarHeader): Buffer => {
  const records = Buffer.from(paxRecords(header));
  if (records.byteLength === 0) return block(header, header.type ?? "0");
  const fits = {
    ...header,
    sizeBytes: (header.sizeBytes ?? 0) >= 8 ** 11 ? 0 : (header.sizeBytes ?? 0),
    uid: (header.uid ?? 0) >= 8 ** 7 ? 0 : (header.uid ?? 0),
    gid: (header.gid ?? 0) >= 8 ** 7 ? 0 : (header.gid ?? 0),
  };
  return Buffer.concat([
    block({ name: "pax", sizeBytes: records.byteLength }, "x"),
    records,
    tarPadding(records.byteLength),
    block(fits, header.type ?? "0"),
  ]);
};

/** A whole entry whose content is in memory. */
export const tarEntry = (header: Omit<TarHeader, "sizeBytes">, content: string | Uint8Array = ""): Buffer => {
  const bytes = Buffer.from(content);
  return Buffer.concat([tarHeader({ ...header, sizeBytes: bytes.byteLength }), bytes, tarPadding(bytes.byteLength)]);
};
